"""The fast front: gRPC over HTTP/2 by an asyncio protocol on libnghttp2."""
