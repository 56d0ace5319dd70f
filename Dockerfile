# The algorithm image for grand-challenge.org. ./build.sh passes the arguments; `docker build .` works, too.
ARG BASE_IMAGE=pytorch/pytorch:2.13.0-cuda12.6-cudnn9-runtime
FROM ${BASE_IMAGE}

# On the platform a container can write to /output and /tmp only.
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    CUPY_CACHE_DIR=/tmp/cupy \
    CUDA_CACHE_PATH=/tmp/cuda

RUN groupadd --gid 10001 algorithm \
    && useradd --uid 10001 --gid algorithm --create-home --shell /usr/sbin/nologin algorithm

WORKDIR /opt/algorithm

# torch comes from the base image. The first installation downloads nothing; it fails if the base has another version.
# The same layer loses the files of the packages that the program never reads.
COPY requirements.txt .ci/remove_unused.py ./
RUN export PIP_BREAK_SYSTEM_PACKAGES=1 PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1 \
    && grep '^torch==' requirements.txt >runtime.txt \
    && python -m pip install --quiet --no-index --no-deps --requirement runtime.txt \
    && sed '/^# For training/,$d' requirements.txt >runtime.txt \
    && cuda=$(python -c 'import torch; print((torch.version.cuda or "").partition(".")[0])') \
    && if [ -n "$cuda" ]; then sed -i "s/^cupy-cuda[0-9]*x/cupy-cuda${cuda}x/" runtime.txt; else sed -i '/^cupy/d' runtime.txt; fi \
    && python -m pip install --quiet --no-cache-dir --requirement runtime.txt \
    && python remove_unused.py "$(python -c 'import sysconfig; print(sysconfig.get_path("platlib"))')" \
    && rm runtime.txt remove_unused.py

COPY process.py LICENSE ./
COPY swfastedit_core swfastedit_core
RUN python -m compileall -q --invalidation-mode unchecked-hash swfastedit_core

COPY weights weights
# Let the algorithm's user read all files: the umask of the build may deny it.
RUN find . ! -perm -o=r -exec chmod o+r {} + && find . -type d ! -perm -o=x -exec chmod o+x {} +

ARG API_METHOD=exec
ARG OPTIONS=""
ARG VERSION=unknown
ARG REVISION=unknown
ARG SOURCE=unknown
ARG CONTENT_DIGEST=unknown
# If an argument changes, some engines still take ENV and LABEL from their cache, unless a RUN before uses the argument.
RUN printf '%s\n' "version ${VERSION}" "revision ${REVISION}" "source ${SOURCE}" "content ${CONTENT_DIGEST}" \
    "options --api-method ${API_METHOD} --host 0.0.0.0 ${OPTIONS}" >build.txt

USER 10001:10001
ENTRYPOINT ["python", "/opt/algorithm/process.py"]
# Invoke listens on all addresses of the container, so that its port can be published (docker run --publish). The
# platform needs 127.0.0.1 only: its shim runs inside the container.
ENV SWFASTEDIT_OPTIONS="--api-method ${API_METHOD} --host 0.0.0.0 ${OPTIONS}"
LABEL org.opencontainers.image.title="swfastedit" \
      org.opencontainers.image.description="Lesion segmentation in whole-body FDG-PET" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="${SOURCE}" \
      org.grand-challenge.api-method="${API_METHOD}" \
      swfastedit.content="${CONTENT_DIGEST}"
