package main

import (
	"context"
	"flag"
	"slices"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
)

const (
	clusterType  = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
	endpointType = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
	listenerType = "type.googleapis.com/envoy.config.listener.v3.Listener"
	routeType    = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
	nameTable    = "type.googleapis.com/istio.networking.nds.v1.NameTable"
)

// What an Envoy asks for after what: clusters name the endpoints, listeners name the routes.
var dependent = map[string]string{clusterType: endpointType, listenerType: routeType}

var shortType = map[string]string{
	clusterType: "CDS", endpointType: "EDS", listenerType: "LDS", routeType: "RDS", nameTable: "NDS",
}

type sidecarFlags struct {
	streamFlags
	id, ip, namespace, version string
	meta                       pairs
	names                      bool
}

func runSidecar(ctx context.Context, args []string) error {
	f := sidecarFlags{meta: pairs{}}
	flags := flag.NewFlagSet("sidecar", flag.ContinueOnError)
	f.register(flags)
	flags.StringVar(&f.id, "node-id", "", "whole node id; absent: made from -ip and -namespace")
	flags.StringVar(&f.ip, "ip", "127.0.0.1", "address of the workload")
	flags.StringVar(&f.namespace, "namespace", "chandler", "namespace of the workload")
	flags.StringVar(&f.version, "istio-version", "1.29.0", "ISTIO_VERSION of the node")
	flags.Var(f.meta, "meta", "further node metadata, KEY=VALUE")
	flags.BoolVar(&f.names, "name-table", false, "ask for the DNS table too; the node then needs DNS_CAPTURE=true")
	if err := parse(flags, args); err != nil {
		return err
	}
	if f.id == "" {
		f.id = "sidecar~" + f.ip + "~probe." + f.namespace + "~" + f.namespace + ".svc.cluster.local"
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
	return (&sidecar{flags: &f, stream: stream, watches: map[string]*watch{}}).run(ctx)
}

// watch is the state of one type: what was last acknowledged, and the names asked for.
type watch struct {
	version, nonce string
	names          []string
}

type sidecar struct {
	flags   *sidecarFlags
	stream  discovery.AggregatedDiscoveryService_StreamAggregatedResourcesClient
	node    *core.Node
	watches map[string]*watch
}

func (s *sidecar) run(ctx context.Context) error {
	metadata := map[string]any{
		"ISTIO_VERSION": s.flags.version, "NAMESPACE": s.flags.namespace, "CLUSTER_ID": "",
		"LABELS": map[string]any{"app": "probe"},
	}
	for key, value := range s.flags.meta {
		metadata[key] = value
	}
	var err error
	if s.node, err = node(s.flags.id, metadata); err != nil {
		return err
	}
	wildcards := []string{clusterType, listenerType}
	if s.flags.names {
		wildcards = append(wildcards, nameTable)
	}
	for _, typeURL := range wildcards {
		if err := s.ask(typeURL, nil); err != nil {
			return closed(ctx, err)
		}
	}
	ending := newEnding(ctx, &s.flags.streamFlags)
	responses, messages := 0, receive(ctx, s.stream.Recv)
	for {
		select {
		case <-ctx.Done():
			return ending.stopped()
		case <-ending.timer:
			return ending.timedOut()
		case m := <-messages:
			if m.err != nil {
				return closed(ctx, m.err)
			}
			if err := s.take(m.message); err != nil {
				return closed(ctx, err)
			}
			if responses++; ending.enough(responses) {
				return nil
			}
		}
	}
}

// ask sends a request that stands on what was acknowledged last; with names it changes what is asked for.
func (s *sidecar) ask(typeURL string, names []string) error {
	w := s.watches[typeURL]
	if w == nil {
		w = &watch{}
		s.watches[typeURL] = w
	}
	w.names = names
	request := &discovery.DiscoveryRequest{
		TypeUrl: typeURL, ResourceNames: names, VersionInfo: w.version, ResponseNonce: w.nonce, Node: s.node,
	}
	s.node = nil // on the first request only
	return sent(s.stream.Send(request))
}

func (s *sidecar) take(response *discovery.DiscoveryResponse) error {
	typeURL := response.GetTypeUrl()
	w := s.watches[typeURL]
	if w == nil {
		return nil // nobody asked
	}
	seen := describe(typeURL, response.GetResources())
	out.emit(event{
		"event": "response", "type": shortType[typeURL], "type_url": typeURL,
		"version": response.GetVersionInfo(), "nonce": response.GetNonce(), "count": len(response.GetResources()),
		"names": seen.names, "detail": seen.detail, "bytes": size(response),
	})
	w.version, w.nonce = response.GetVersionInfo(), response.GetNonce()
	if err := s.ask(typeURL, w.names); err != nil {
		return err
	}
	next, has := dependent[typeURL]
	if !has {
		return nil
	}
	slices.Sort(seen.next)
	names := slices.Compact(seen.next)
	if held := s.watches[next]; len(names) == 0 || held != nil && slices.Equal(held.names, names) {
		return nil
	}
	return s.ask(next, names)
}
