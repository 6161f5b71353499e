package main

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
)

const meshConfigType = "core/v1alpha1/MeshConfig"

// What each age of istiod subscribes to, in its order. MeshConfig comes before all of them.
var askedFor = map[string][]string{
	"1.18": {
		"extensions.istio.io/v1alpha1/WasmPlugin",
		"networking.istio.io/v1alpha3/DestinationRule", "networking.istio.io/v1alpha3/EnvoyFilter",
		"networking.istio.io/v1alpha3/Gateway", "networking.istio.io/v1alpha3/ServiceEntry",
		"networking.istio.io/v1alpha3/Sidecar", "networking.istio.io/v1alpha3/VirtualService",
		"networking.istio.io/v1alpha3/WorkloadEntry", "networking.istio.io/v1alpha3/WorkloadGroup",
		"networking.istio.io/v1beta1/ProxyConfig",
		"security.istio.io/v1beta1/AuthorizationPolicy", "security.istio.io/v1beta1/PeerAuthentication",
		"security.istio.io/v1beta1/RequestAuthentication", "telemetry.istio.io/v1alpha1/Telemetry",
	},
	"newest": {
		"security.istio.io/v1/AuthorizationPolicy", "networking.istio.io/v1/DestinationRule",
		"networking.istio.io/v1alpha3/EnvoyFilter", "networking.istio.io/v1/Gateway",
		"security.istio.io/v1/PeerAuthentication", "networking.istio.io/v1beta1/ProxyConfig",
		"security.istio.io/v1/RequestAuthentication", "networking.istio.io/v1/ServiceEntry",
		"networking.istio.io/v1/Sidecar", "telemetry.istio.io/v1/Telemetry",
		"extensions.istio.io/v1alpha1/TrafficExtension", "networking.istio.io/v1/VirtualService",
		"extensions.istio.io/v1alpha1/WasmPlugin", "networking.istio.io/v1/WorkloadEntry",
		"networking.istio.io/v1/WorkloadGroup",
	},
}

type sotwFlags struct {
	streamFlags
	types, names, nack, noAck list
	generator, nodeID, like   string
	istiodLike, brief, noRead bool
}

func runSotw(ctx context.Context, args []string) error {
	var f sotwFlags
	flags := flag.NewFlagSet("sotw", flag.ContinueOnError)
	f.register(flags)
	flags.Var(&f.types, "types", "type URLs to ask for; absent: all that istiod (-like) asks for")
	flags.Var(&f.names, "names", "resource names to ask for; absent: all, as istiod does")
	flags.StringVar(&f.generator, "node-generator", "api", "GENERATOR of the node; empty: none")
	flags.StringVar(&f.nodeID, "node-id", "sidecar~127.0.0.1~probe.istio-system~istio-system.svc.cluster.local", "id of the node")
	flags.BoolVar(&f.istiodLike, "istiod-like", false, "clock strings as first nonces, MeshConfig first, the node on every request")
	flags.StringVar(&f.like, "like", "newest", "which istiod: 1.18 or newest")
	flags.BoolVar(&f.brief, "brief", false, "counts and digests only")
	flags.Var(&f.nack, "nack", "types whose responses are refused")
	flags.Var(&f.noAck, "no-ack", "types whose responses are never acknowledged")
	flags.BoolVar(&f.noRead, "no-read", false, "ask and never read an answer")
	if err := parse(flags, args); err != nil {
		return err
	}
	if len(f.types) == 0 {
		if f.types = askedFor[f.like]; f.types == nil {
			return fmt.Errorf("%w: -like %q is not 1.18 or newest", errUsage, f.like)
		}
	}
	if f.istiodLike && f.types[0] != meshConfigType {
		f.types = append(list{meshConfigType}, f.types...)
	}
	conn, err := dial(&f.streamFlags)
	if err != nil {
		return err
	}
	defer conn.Close()
	stream, err := discovery.NewAggregatedDiscoveryServiceClient(conn).StreamAggregatedResources(ctx)
	if err != nil {
		return closed(ctx, err)
	}
	client := &sotwClient{flags: &f, stream: stream, stores: map[string]*store{}}
	return client.run(ctx)
}

// store is what istiod would hold of one type: name to version.
type store struct {
	versions               map[string]string
	ackedVersion, lastSeen string
}

type sotwClient struct {
	flags  *sotwFlags
	stream discovery.AggregatedDiscoveryService_StreamAggregatedResourcesClient
	node   *core.Node
	stores map[string]*store
	sent   bool
}

func (c *sotwClient) run(ctx context.Context) error {
	metadata := map[string]any{"ISTIO_VERSION": "65536.65536.65536"}
	if c.flags.generator != "" {
		metadata["GENERATOR"] = c.flags.generator
	}
	var err error
	if c.node, err = node(c.flags.nodeID, metadata); err != nil {
		return err
	}
	for _, typeURL := range c.flags.types {
		c.stores[typeURL] = &store{versions: map[string]string{}}
		request := &discovery.DiscoveryRequest{TypeUrl: typeURL, ResourceNames: c.flags.names}
		if c.flags.istiodLike {
			request.ResponseNonce = time.Now().String()
		}
		if err := c.send(request, !c.sent); err != nil {
			return closed(ctx, err)
		}
	}
	ending := newEnding(ctx, &c.flags.streamFlags)
	if c.flags.noRead {
		return c.stall(ending)
	}
	return c.converse(ctx, ending)
}

// stall keeps the stream open and reads nothing: what is sent fills the windows and stays there.
func (c *sotwClient) stall(ending *ending) error {
	out.emit(event{"event": "stalled"})
	select {
	case <-ending.ctx.Done():
		return ending.stopped()
	case <-ending.timer:
		return ending.timedOut()
	}
}

func (c *sotwClient) converse(ctx context.Context, ending *ending) error {
	responses, messages, commands := 0, receive(ctx, c.stream.Recv), instructions()
	for {
		select {
		case <-ctx.Done():
			return ending.stopped()
		case <-ending.timer:
			return ending.timedOut()
		case command := <-commands:
			if err := c.obey(command); err != nil {
				return err
			}
		case m := <-messages:
			if m.err != nil {
				return closed(ctx, m.err)
			}
			if err := c.take(m.message); err != nil {
				return closed(ctx, err)
			}
			if responses++; ending.enough(responses) {
				return nil
			}
		}
	}
}

// send puts the node on where it belongs: the first request, and with istiod every acknowledgement.
func (c *sotwClient) send(request *discovery.DiscoveryRequest, withNode bool) error {
	if withNode {
		request.Node = c.node
	}
	c.sent = true
	return sent(c.stream.Send(request))
}

func (c *sotwClient) take(response *discovery.DiscoveryResponse) error {
	typeURL := response.GetTypeUrl()
	s := c.stores[typeURL]
	if s == nil {
		s = &store{versions: map[string]string{}}
		c.stores[typeURL] = s
	}
	e := event{
		"event": "response", "type_url": typeURL, "version_info": response.GetVersionInfo(), "nonce": response.GetNonce(),
		"count": len(response.GetResources()), "bytes": size(response), "sha256": digest(response.GetResources()),
	}
	decoded := make([]resource, 0, len(response.GetResources()))
	for _, one := range response.GetResources() {
		decoded = append(decoded, decode(one))
	}
	if !c.flags.brief {
		e["resources"] = decoded
	}
	refused := slices.Contains(c.flags.nack, typeURL)
	if !refused {
		e["applied"] = s.apply(decoded, c.flags.brief)
	}
	e["nacked"] = refused
	out.emit(e)
	s.lastSeen = response.GetNonce()
	if slices.Contains(c.flags.noAck, typeURL) {
		return nil
	}
	request := &discovery.DiscoveryRequest{TypeUrl: typeURL, ResponseNonce: response.GetNonce(), ResourceNames: c.flags.names}
	if refused {
		request.VersionInfo = s.ackedVersion
		request.ErrorDetail = &statuspb.Status{Code: int32(codes.InvalidArgument), Message: "refused because the test asked for it"}
	} else {
		s.ackedVersion = response.GetVersionInfo()
		request.VersionInfo = s.ackedVersion
	}
	return c.send(request, c.flags.istiodLike)
}

// applied is what a response did to the store, by istiod's rules: a resource whose version is known and not empty
// is left alone whatever its content, and what is not in the response is deleted.
type applied struct {
	Created   []string `json:"created,omitempty"`
	Updated   []string `json:"updated,omitempty"`
	Deleted   []string `json:"deleted,omitempty"`
	Unchanged int      `json:"unchanged"`
	NCreated  int      `json:"n_created"`
	NUpdated  int      `json:"n_updated"`
	NDeleted  int      `json:"n_deleted"`
}

func (s *store) apply(resources []resource, brief bool) applied {
	var a applied
	present := map[string]bool{}
	for _, r := range resources {
		present[r.Name] = true
		held, known := s.versions[r.Name]
		switch {
		case !known:
			a.Created = append(a.Created, r.Name)
		case held != r.Version || r.Version == "":
			a.Updated = append(a.Updated, r.Name)
		default:
			a.Unchanged++
		}
		s.versions[r.Name] = r.Version
	}
	for name := range s.versions {
		if !present[name] {
			a.Deleted = append(a.Deleted, name)
			delete(s.versions, name)
		}
	}
	slices.Sort(a.Deleted)
	a.NCreated, a.NUpdated, a.NDeleted = len(a.Created), len(a.Updated), len(a.Deleted)
	if brief {
		a.Created, a.Updated, a.Deleted = nil, nil, nil
	}
	return a
}

// obey: "names a,b" asks for other names; "again TYPE" subscribes anew with an empty nonce; "request TYPE" asks for one
// more type; "stray TYPE" acknowledges a nonce that was never sent; "half-close" ends our side and goes on reading.
func (c *sotwClient) obey(command instruction) error {
	switch command.verb {
	case "names":
		c.flags.names = command.values
		for _, typeURL := range c.flags.types {
			s := c.stores[typeURL]
			request := &discovery.DiscoveryRequest{
				TypeUrl: typeURL, ResourceNames: c.flags.names, VersionInfo: s.ackedVersion, ResponseNonce: s.lastSeen,
			}
			if err := c.send(request, false); err != nil {
				return err
			}
		}
	case "again", "request":
		for _, typeURL := range command.values {
			if err := c.send(&discovery.DiscoveryRequest{TypeUrl: typeURL, ResourceNames: c.flags.names}, false); err != nil {
				return err
			}
		}
	case "half-close":
		return c.stream.CloseSend()
	case "stray":
		for _, typeURL := range command.values {
			request := &discovery.DiscoveryRequest{TypeUrl: typeURL, VersionInfo: "never", ResponseNonce: "never-sent"}
			if err := c.send(request, false); err != nil {
				return err
			}
		}
	default:
		return fmt.Errorf("%w: no instruction %q", errUsage, command.verb)
	}
	return nil
}
