package main

import (
	"fmt"
	"sort"
	"strings"
	"sync"

	"github.com/gogo/protobuf/types"

	mcp "istio.io/api/mcp/v1alpha1"
)

// judge stands between a sink and its stream and holds every message against the rules of the protocol. It outlives
// streams, as what a sink holds does.
type judge struct {
	number      int
	incremental bool // asked for on every request but the one that refuses
	versions    bool // hold the version that is claimed against what is held
	quiet       bool

	mu          sync.Mutex
	collections map[string]*collectionState
	nonces      map[string]bool // of this stream
	counts      counts
}

type counts struct {
	Streams     int `json:"streams"`
	Open        int `json:"open"`
	Full        int `json:"full"`
	Incremental int `json:"incremental"`
	Acks        int `json:"acks"`
	Nacks       int `json:"nacks"`
	Faults      int `json:"faults"`
}

// collectionState is what the sink has of one collection, and where the conversation about it is.
type collectionState struct {
	held    map[string]string // name to version, as acknowledged last
	version string            // the collection's, as acknowledged last
	told    bool              // answered on this stream
	asked   bool              // the request that is open asked for increments
	refused string            // the version that was refused last on this stream
	pending *mcp.Resources
	next    map[string]string // held, once pending is acknowledged
}

func newJudge(number int, collections []string, incremental bool) *judge {
	j := &judge{number: number, incremental: incremental, collections: map[string]*collectionState{}}
	for _, name := range collections {
		j.collections[name] = &collectionState{held: map[string]string{}}
	}
	return j
}

func (j *judge) opened() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.nonces = map[string]bool{}
	for _, c := range j.collections {
		c.told, c.refused, c.pending, c.next = false, "", nil, nil
	}
	j.counts.Streams++
	j.counts.Open++
	emit(event{"event": "open", "sink": j.number})
}

func (j *judge) ended(code, message string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.counts.Open--
	emit(event{"event": "closed", "sink": j.number, "code": code, "message": message})
}

// fault says that a rule was broken. The caller holds the lock.
func (j *judge) fault(rule, collection, format string, args ...interface{}) {
	j.counts.Faults++
	detail := fmt.Sprintf(format, args...)
	emit(event{"event": "fault", "sink": j.number, "rule": rule, "collection": collection, "detail": detail})
}

// request looks at what the sink sends.
func (j *judge) request(request *mcp.RequestResources) {
	j.mu.Lock()
	defer j.mu.Unlock()
	c := j.collections[request.Collection]
	if c == nil {
		return // the answer to what it had not asked for; that was a fault already
	}
	c.asked = request.Incremental
	message := c.pending
	if message == nil || request.ResponseNonce != message.Nonce {
		return
	}
	outcome := "ack"
	if request.ErrorDetail == nil {
		c.held, c.version, c.refused = c.next, message.SystemVersionInfo, ""
		j.counts.Acks++
	} else {
		outcome, c.refused = "nack", message.SystemVersionInfo
		j.counts.Nacks++
	}
	c.pending, c.next = nil, nil
	if !j.quiet {
		j.show(message, c, outcome)
	}
}

func (j *judge) show(message *mcp.Resources, c *collectionState, outcome string) {
	names := make([]string, 0, len(message.Resources))
	for _, resource := range message.Resources {
		names = append(names, resource.GetMetadata().GetName())
	}
	sort.Strings(names)
	removed := append([]string{}, message.RemovedResources...)
	emit(event{
		"event": "update", "sink": j.number, "collection": message.Collection, "nonce": message.Nonce,
		"version": message.SystemVersionInfo, "incremental": message.Incremental, "outcome": outcome,
		"resources": names, "removed": removed, "held": len(c.held), "bytes": message.Size(),
	})
}

// response looks at what the source sent, before the sink does.
func (j *judge) response(message *mcp.Resources) {
	j.mu.Lock()
	defer j.mu.Unlock()
	name := message.Collection
	c := j.collections[name]
	if c == nil {
		if name != triggerCollection {
			j.fault("collection", name, "nobody asked for it")
		}
		return
	}
	j.conversation(message, c)
	c.next = j.apply(message, c)
	if j.versions {
		want, err := collectionVersion(c.next)
		if err != nil {
			j.fault("version", name, "%v", err)
		} else if want != message.SystemVersionInfo {
			j.fault("version", name, "it claims %s, what is held has %s", message.SystemVersionInfo, want)
		}
	}
	c.pending, c.told = message, true
	if message.Incremental {
		j.counts.Incremental++
	} else {
		j.counts.Full++
	}
}

// conversation holds the message against what was said before on this stream.
func (j *judge) conversation(message *mcp.Resources, c *collectionState) {
	name := message.Collection
	if message.Nonce == "" || j.nonces[message.Nonce] {
		j.fault("nonce", name, "%q is empty or was used on this stream", message.Nonce)
	}
	j.nonces[message.Nonce] = true
	if c.pending != nil {
		j.fault("pending", name, "%s was not answered yet", c.pending.Nonce)
	}
	if message.Incremental && !c.asked {
		j.fault("incremental", name, "the request did not ask for it")
	}
	if !message.Incremental && len(message.RemovedResources) > 0 {
		j.fault("incremental", name, "names that went, in a full state")
	}
	if c.told && c.refused == "" && message.SystemVersionInfo == c.version {
		j.fault("repeat", name, "version %s was acknowledged", c.version)
	}
	if c.refused != "" && message.SystemVersionInfo == c.refused {
		j.fault("repeat", name, "version %s was refused", c.refused)
	}
}

// apply is what is held once the message is acknowledged.
func (j *judge) apply(message *mcp.Resources, c *collectionState) map[string]string {
	next := make(map[string]string, len(c.held)+len(message.Resources))
	if message.Incremental {
		for name, version := range c.held {
			next[name] = version
		}
	}
	for _, name := range message.RemovedResources {
		if _, held := next[name]; !held {
			j.fault("removed", message.Collection, "%q was not held", name)
		}
		delete(next, name)
	}
	seen := make(map[string]bool, len(message.Resources))
	for i := range message.Resources {
		resource := &message.Resources[i]
		name, version := resource.GetMetadata().GetName(), resource.GetMetadata().GetVersion()
		if flaw := flawOf(resource); flaw != "" {
			j.fault("resource", message.Collection, "%q: %s", name, flaw)
		}
		if seen[name] {
			j.fault("resource", message.Collection, "%q is there twice", name)
		}
		if held, known := c.held[name]; message.Incremental && known && held == version {
			j.fault("waste", message.Collection, "%q was held already in version %s", name, version)
		}
		seen[name], next[name] = true, version
	}
	return next
}

// flawOf says why a Pilot would crash at a resource, refuse it or take it wrongly; empty: it is sound.
func flawOf(resource *mcp.Resource) string {
	meta := resource.Metadata
	switch {
	case meta == nil:
		return "no metadata: every Pilot crashes"
	case resource.Body == nil:
		return "no body: the whole collection is refused"
	case meta.Version == "":
		return "no version: changes would go unnoticed"
	case meta.CreateTime == nil:
		return "no time of creation: the time of receipt stands in for it, and moves"
	}
	if _, err := types.TimestampFromProto(meta.CreateTime); err != nil {
		return "its time of creation is dropped with it: " + err.Error()
	}
	if parts := strings.Split(meta.Name, "/"); len(parts) != 2 || parts[0] == "" || parts[1] == "" {
		return "its name is not namespace/name"
	}
	var body types.DynamicAny
	if err := types.UnmarshalAny(resource.Body, &body); err != nil {
		return err.Error()
	}
	return ""
}
