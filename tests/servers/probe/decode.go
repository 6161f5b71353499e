package main

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	mcp "istio.io/api/mcp/v1alpha1"

	// Registered, so that the body of any kind that istiod knows can be shown.
	_ "istio.io/api/extensions/v1alpha1"
	_ "istio.io/api/networking/v1alpha3"
	_ "istio.io/api/networking/v1beta1"
	_ "istio.io/api/security/v1beta1"
	_ "istio.io/api/telemetry/v1alpha1"
)

// resource is what a receiver sees of one mcp.Resource.
type resource struct {
	Name        string            `json:"name"`
	Version     string            `json:"version"`
	CreateTime  string            `json:"create_time,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	BodyType    string            `json:"body_type,omitempty"`
	Body        json.RawMessage   `json:"body,omitempty"`
	SHA256      string            `json:"sha256"`
	Error       string            `json:"error,omitempty"`
}

func decode(wrapped *anypb.Any) resource {
	sum := sha256.Sum256(wrapped.GetValue())
	r := resource{SHA256: hex.EncodeToString(sum[:])}
	var m mcp.Resource
	if err := wrapped.UnmarshalTo(&m); err != nil {
		r.Error = err.Error()
		return r
	}
	meta := m.GetMetadata()
	r.Name, r.Version = meta.GetName(), meta.GetVersion()
	r.Labels, r.Annotations = meta.GetLabels(), meta.GetAnnotations()
	if created := meta.GetCreateTime(); created != nil {
		r.CreateTime = created.AsTime().Format(time.RFC3339Nano)
	}
	r.BodyType = m.GetBody().GetTypeUrl()
	body, err := m.GetBody().UnmarshalNew()
	if err == nil {
		r.Body, err = protojson.Marshal(body)
	}
	if err != nil {
		r.Error = err.Error()
	}
	return r
}

// digest covers the resources as they came, in their order; equal digests mean equal bytes.
func digest(resources []*anypb.Any) string {
	hash := sha256.New()
	var length [8]byte
	for _, one := range resources {
		for _, part := range [][]byte{[]byte(one.GetTypeUrl()), one.GetValue()} {
			binary.BigEndian.PutUint64(length[:], uint64(len(part)))
			hash.Write(length[:])
			hash.Write(part)
		}
	}
	return hex.EncodeToString(hash.Sum(nil))
}

func size(m proto.Message) int { return proto.Size(m) }
