# The images of `Dockerfile`, from binaries that build-local.sh has put into the context. Any builder will do.
# BASE has the libraries of binaries that are not static.
ARG BASE=scratch

# A new volume at /data takes over the owner of this folder. The certificates are those of the public
# authorities, for S3, NATS, cameras and the uplink.
FROM ${BASE} AS service
COPY ca-certificates.crt /etc/ssl/certs/
COPY --chown=65532:65532 data /data
WORKDIR /data
USER 65532:65532

FROM service AS edge-node
COPY edge-node /
EXPOSE 8080
ENTRYPOINT ["/edge-node"]

FROM service AS cloud-decoder
COPY cloud-decoder /
EXPOSE 8090 50051
ENTRYPOINT ["/cloud-decoder"]

FROM ${BASE} AS camera
COPY patchwire /
COPY frames /frames
USER 65532:65532
ENTRYPOINT ["/patchwire", "send"]

# Reads RTSP too.
FROM edge-node AS edge-node-video
COPY ffmpeg /
ENV PATH=/usr/bin
