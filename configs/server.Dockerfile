# The server's image: docker build -f configs/server.Dockerfile -t agent-vault .
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -o /out/agent-vault ./cmd/agent-vault \
 && mkdir -m 0700 /out/data

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/agent-vault /usr/local/bin/agent-vault
COPY --from=build --chown=65532:65532 /out/data /var/lib/agent-vault
ENV AGENT_VAULT_DATA_DIR=/var/lib/agent-vault
USER 65532:65532
VOLUME /var/lib/agent-vault
EXPOSE 14321 14322
ENTRYPOINT ["/usr/local/bin/agent-vault"]
CMD ["server"]
