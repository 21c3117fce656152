# An image with nothing in it but fanfold, certificates and time zones: no shell, no
# packages, not root. `docker build -t fanfold .` builds it from this folder; a release
# puts the binary that was released into it (--target release).
#
#   docker run --rm -v "$PWD:/etc/fanfold:ro" -v fanfold-state:/state \
#     --env-file .env fanfold forward --from /etc/fanfold/events.jsonl.zst
#
# Mount the folder with fanfold.yaml at /etc/fanfold and a volume at /state: without the
# volume a run cannot go on after its container is gone.

FROM --platform=$BUILDPLATFORM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG TARGETOS=linux TARGETARCH=amd64 VERSION=dev COMMIT= DATE=
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -o /out/fanfold \
    -ldflags "-s -w -X main.version=$VERSION -X main.commit=$COMMIT -X main.date=$DATE" .

# What an image holds beside the program. A release has no source to build from, so this takes
# nothing from the folder of the build.
FROM --platform=$BUILDPLATFORM golang:1.26 AS files
RUN mkdir -p /out/state /out/tmp

FROM scratch AS base
COPY --from=files /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=files /usr/share/zoneinfo /usr/share/zoneinfo
COPY --from=files --chown=65532:65532 /out/state /state
COPY --from=files --chown=65532:65532 /out/tmp /tmp
ENV FANFOLD_STATE_DIR=/state FANFOLD_LOG_FORMAT=json HOME=/tmp
USER 65532:65532
WORKDIR /etc/fanfold
VOLUME /state
ENTRYPOINT ["/usr/bin/fanfold"]

FROM base AS release
ARG TARGETPLATFORM
COPY $TARGETPLATFORM/fanfold /usr/bin/fanfold

FROM base
COPY --from=build /out/fanfold /usr/bin/fanfold
