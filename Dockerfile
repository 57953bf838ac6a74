# The image of dcred: Node and one bundled file, run by a user without rights.
#
# The bases are arguments, so that an organisation can put its own in their place; any image with Node >= 22.19 on the PATH
# will do for the second.
ARG BUILD_BASE=node:24.21.0-trixie-slim
ARG RUNTIME_BASE=node:24.21.0-trixie-slim

FROM ${BUILD_BASE} AS build
WORKDIR /src
# First what changes rarely, so that a change of the sources does not install everything anew.
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
# Named .mjs here: of a .js without a package.json Node has to find out what it is, by parsing it twice (24 MB and 50 ms).
# Without its source map: --enable-source-maps would cost 40 MB, and the bundle's own names and lines can be read as they are.
COPY --from=build /src/dist/dcred.js /app/dcred.mjs
USER 65532:65532
ENTRYPOINT ["node", "/app/dcred.mjs"]
CMD ["--help"]
