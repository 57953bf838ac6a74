# The image of dcred: Node and one bundled file, run as an unprivileged user.
#
# The base images are arguments, so that an organisation can use its own. The runtime needs Node >= 22.19 on the PATH.
ARG BUILD_BASE=node:24.21.0-trixie-slim
ARG RUNTIME_BASE=node:24.21.0-trixie-slim

FROM ${BUILD_BASE} AS build
WORKDIR /src
# What changes rarely comes first, so that a change to the sources does not reinstall the dependencies.
COPY package.json package-lock.json .npmrc ./
RUN npm ci --no-audit --no-fund
COPY tsconfig.json ./
COPY scripts scripts
COPY src src
ARG REVISION=unknown
RUN DCRED_COMMIT="${REVISION}" npm run build

FROM ${RUNTIME_BASE}
ARG VERSION=development
ARG REVISION=unknown
LABEL org.opencontainers.image.title="dcred" \
      org.opencontainers.image.description="Per-pod TLS delegated credentials (RFC 9345) for Kubernetes" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# Named .mjs: without a package.json, Node would parse a .js twice to find out its module type (24 MB and 50 ms).
# No source map: --enable-source-maps costs 40 MB, and stack traces of the bundle have readable names and lines.
COPY --from=build /src/dist/dcred.js /app/dcred.mjs
USER 65532:65532
ENTRYPOINT ["node", "/app/dcred.mjs"]
CMD ["--help"]
