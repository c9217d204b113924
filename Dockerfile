# docker build --build-arg VERSION="$(git describe --tags --always)" -t countersign .
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=devel
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false \
	-ldflags "-s -w -X main.version=${VERSION}" \
	-o /countersign ./cmd/countersign

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /countersign /countersign
USER nonroot
# gRPC ext_authz, HTTP (login, keys, forward-auth), health and metrics
EXPOSE 9191 4180 9193
ENTRYPOINT ["/countersign"]
CMD ["serve", "--config", "/etc/countersign/countersign.yaml"]
