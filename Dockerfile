# The image of dcred: Node, the libraries it is linked with, and dcred, bundled, run as an unprivileged user. No shell, no npm.
#
# BASE only builds; nothing of it but its C libraries is in the image. It needs npm and glibc, and must be named by digest, so that the
# same sources give the same image. There is no default: look up the digest of the image that you trust, for example with
# `docker buildx imagetools inspect node:24.21.0-trixie-slim`, then
#
#     docker build --build-arg BASE=node:24.21.0-trixie-slim@sha256:... .
#
# VARIANT=pkcs11 adds what keys on PKCS#11 tokens need. It is compiled, by the g++ of BASE: node:24.21.0-trixie has one.
ARG BASE
FROM ${BASE} AS build
ARG BASE
RUN case "${BASE}" in *@sha256:*|localhost/*) ;; \
      *) echo "BASE: expected an image with a digest, NAME@sha256:..., found ${BASE}" >&2; exit 1 ;; esac
WORKDIR /src
# What changes rarely comes first, so that a change to the sources does not reinstall the dependencies.
COPY package.json package-lock.json .npmrc LICENSE ./
RUN npm ci --no-audit --no-fund
COPY tsconfig.json ./
COPY scripts scripts
COPY src src
ARG REVISION=unknown
ARG VARIANT=default
# npm runs scripts with the Node of the lockfile.
RUN DCRED_COMMIT="${REVISION}" npm run build && npm run image -- --root /image --variant "${VARIANT}"

FROM scratch
ARG VERSION=development
ARG REVISION=unknown
LABEL org.opencontainers.image.title="dcred" \
      org.opencontainers.image.description="Per-pod TLS delegated credentials (RFC 9345) for Kubernetes" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /image/ /
ENV PATH=/usr/local/bin
# One heap of malloc for all threads: see scripts/image.ts.
ENV MALLOC_ARENA_MAX=1
USER 65532:65532
# No inspector, which SIGUSR1 would otherwise start.
ENTRYPOINT ["node", "--disable-sigusr1", "/app/dcred.mjs"]
CMD ["--help"]
