package envoy

import (
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"

	"github.com/countersign/countersign/authz"
)

// Decode reads a CheckRequest as the server does, for the comparison with
// protobuf.
func Decode(wire []byte) (authz.Request, error) {
	var m message
	_ = codec{encoding.GetCodecV2(proto.Name)}.Unmarshal(mem.BufferSlice{mem.SliceBuffer(wire)}, &m) // never fails
	return m.request()
}

// DecodesFast reports whether Decode does so without protobuf.
func DecodesFast(wire []byte) bool {
	return new(message).readCheck(text(mem.BufferSlice{mem.SliceBuffer(wire)}))
}

// Encode writes an allow as the server does.
func Encode(d authz.Decision) ([]byte, error) { return encodeAllowed(d) }

// Read reads a CheckRequest that protobuf has decoded.
var Read = readRequest
