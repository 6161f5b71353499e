package main

import (
	"context"
	"flag"
	"fmt"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
)

type deltaFlags struct {
	streamFlags
	typeURL, nodeID, generator string
	subscribe, unsubscribe     list
	initial                    pairs
	nack, brief                bool
}

func runDelta(ctx context.Context, args []string) error {
	f := deltaFlags{initial: pairs{}}
	flags := flag.NewFlagSet("delta", flag.ContinueOnError)
	f.register(flags)
	flags.StringVar(&f.typeURL, "type", "networking.istio.io/v1/ServiceEntry", "type URL to ask for")
	flags.StringVar(&f.nodeID, "node-id", "sidecar~127.0.0.1~probe.istio-system~istio-system.svc.cluster.local", "id of the node")
	flags.StringVar(&f.generator, "node-generator", "api", "GENERATOR of the node; empty: none")
	flags.Var(&f.subscribe, "subscribe", "names to subscribe to; absent: everything")
	flags.Var(&f.unsubscribe, "unsubscribe", "names to unsubscribe from after the first response")
	flags.Var(f.initial, "initial", "name=version of what the client already holds")
	flags.BoolVar(&f.nack, "nack", false, "refuse every response")
	flags.BoolVar(&f.brief, "brief", false, "names and versions only")
	if err := parse(flags, args); err != nil {
		return err
	}
	conn, err := dial(&f.streamFlags)
	if err != nil {
		return err
	}
	defer conn.Close()
	stream, err := discovery.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
	if err != nil {
		return closed(ctx, err)
	}
	return (&deltaClient{flags: &f, stream: stream}).run(ctx)
}

type deltaClient struct {
	flags  *deltaFlags
	stream discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesClient
}

func (c *deltaClient) run(ctx context.Context) error {
	first, err := c.firstRequest()
	if err != nil {
		return err
	}
	if err := sent(c.stream.Send(first)); err != nil {
		return closed(ctx, err)
	}
	ending := newEnding(ctx, &c.flags.streamFlags)
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
			if err := c.take(m.message, responses == 0); err != nil {
				return closed(ctx, err)
			}
			if responses++; ending.enough(responses) {
				return nil
			}
		}
	}
}

func (c *deltaClient) firstRequest() (*discovery.DeltaDiscoveryRequest, error) {
	metadata := map[string]any{}
	if c.flags.generator != "" {
		metadata["GENERATOR"] = c.flags.generator
	}
	self, err := node(c.flags.nodeID, metadata)
	if err != nil {
		return nil, err
	}
	return &discovery.DeltaDiscoveryRequest{
		Node: self, TypeUrl: c.flags.typeURL,
		ResourceNamesSubscribe: c.flags.subscribe, InitialResourceVersions: c.flags.initial,
	}, nil
}

// added is one resource of a delta response: the wire's own name and version, and what is inside.
type added struct {
	Name     string    `json:"name"`
	Version  string    `json:"version"`
	Resource *resource `json:"resource,omitempty"`
}

func (c *deltaClient) take(response *discovery.DeltaDiscoveryResponse, first bool) error {
	entries := make([]added, 0, len(response.GetResources()))
	for _, one := range response.GetResources() {
		entry := added{Name: one.GetName(), Version: one.GetVersion()}
		if !c.flags.brief && one.GetResource() != nil {
			inside := decode(one.GetResource())
			entry.Resource = &inside
		}
		entries = append(entries, entry)
	}
	out.emit(event{
		"event": "response", "type_url": response.GetTypeUrl(), "system_version": response.GetSystemVersionInfo(),
		"nonce": response.GetNonce(), "count": len(entries), "bytes": size(response),
		"added": entries, "removed": response.GetRemovedResources(), "nacked": c.flags.nack,
	})
	request := &discovery.DeltaDiscoveryRequest{TypeUrl: response.GetTypeUrl(), ResponseNonce: response.GetNonce()}
	if c.flags.nack {
		request.ErrorDetail = &statuspb.Status{Code: int32(codes.InvalidArgument), Message: "refused because the test asked for it"}
	}
	if err := sent(c.stream.Send(request)); err != nil {
		return err
	}
	if first && len(c.flags.unsubscribe) > 0 {
		return c.obey(instruction{"unsubscribe", c.flags.unsubscribe})
	}
	return nil
}

// obey: "subscribe a,b" and "unsubscribe a,b", in requests of their own that acknowledge nothing.
func (c *deltaClient) obey(command instruction) error {
	request := &discovery.DeltaDiscoveryRequest{TypeUrl: c.flags.typeURL}
	switch command.verb {
	case "subscribe":
		request.ResourceNamesSubscribe = command.values
	case "unsubscribe":
		request.ResourceNamesUnsubscribe = command.values
	default:
		return fmt.Errorf("%w: no instruction %q", errUsage, command.verb)
	}
	return sent(c.stream.Send(request))
}
