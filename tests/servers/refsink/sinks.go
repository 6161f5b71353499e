package main

import (
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"io/ioutil"
	"math/rand"
	"strconv"
	"time"

	"istio.io/istio/pkg/mcp/sink"
	"istio.io/istio/pkg/mcp/testing/monitoring"
)

// triggerCollection is how a dialling source makes a sink notice the stream; every sink refuses it.
const triggerCollection = "$triggerCollection"

// sinkFlags are common to both ways of being a sink.
type sinkFlags struct {
	release, collections, id string
	incremental, quiet       bool
	versions                 bool
	nack                     float64
	delay                    time.Duration
	seed                     int64
	ca, cert, key            string
}

func (f *sinkFlags) register(flags *flag.FlagSet) {
	flags.StringVar(&f.release, "release", "1.6", "ask for what this release of Pilot asks for")
	flags.StringVar(&f.collections, "collections", "", "ask for these instead, with commas between")
	flags.StringVar(&f.id, "id", "", "name of the sink; Pilot's is empty")
	flags.BoolVar(&f.incremental, "incremental", false, "ask for increments")
	flags.BoolVar(&f.quiet, "quiet", false, "no line for each update")
	flags.BoolVar(&f.versions, "versions", true, "hold claimed versions against what is held")
	flags.Float64Var(&f.nack, "nack", 0, "share of updates to refuse, 0 to 1")
	flags.DurationVar(&f.delay, "delay", 0, "longest time before an answer")
	flags.Int64Var(&f.seed, "seed", 1, "of all that is random")
	flags.StringVar(&f.ca, "ca", "", "certificates to trust; none: plaintext")
	flags.StringVar(&f.cert, "cert", "", "certificate to show")
	flags.StringVar(&f.key, "key", "", "its key")
}

// one is a sink with its judge.
type one struct {
	judge *judge
	whims *whims
}

func (f *sinkFlags) one(number int) (*one, *sink.Options, error) {
	names, err := collectionsOf(f.release, f.collections)
	if err != nil {
		return nil, nil, err
	}
	judge := newJudge(number, names, f.incremental)
	judge.versions, judge.quiet = f.versions, f.quiet
	whims := &whims{random: rand.New(rand.NewSource(f.seed + int64(number))), nack: f.nack, delay: f.delay}
	options := &sink.Options{
		CollectionOptions: sink.CollectionOptionsFromSlice(names),
		Updater:           whims,
		ID:                f.id,
		Reporter:          monitoring.NewInMemoryStatsContext(),
	}
	for i := range options.CollectionOptions {
		options.CollectionOptions[i].Incremental = f.incremental
	}
	return &one{judge, whims}, options, nil
}

// certificates reads what the flags name; nil: plaintext.
func (f *sinkFlags) certificates() (*tls.Config, error) {
	if f.ca == "" {
		return nil, nil
	}
	pem, err := ioutil.ReadFile(f.ca)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%w: %s holds no certificate", errUsage, f.ca)
	}
	config := &tls.Config{RootCAs: pool, ClientCAs: pool, NextProtos: []string{"h2"}}
	if f.cert != "" {
		pair, err := tls.LoadX509KeyPair(f.cert, f.key)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// all are the sinks of this process.
type all []*one

// do follows an instruction: report, held COLLECTION, nack SHARE, delay TIME, pause, resume. Whether it was one.
func (a all) do(words []string) bool {
	argument := ""
	if len(words) > 1 {
		argument = words[1]
	}
	switch words[0] {
	case "report":
		emit(a.report())
	case "held":
		emit(a.held(argument))
	case "nack":
		share, err := strconv.ParseFloat(argument, 64)
		a.each(err, func(s *one) { s.whims.setNack(share) })
	case "delay":
		delay, err := time.ParseDuration(argument)
		a.each(err, func(s *one) { s.whims.setDelay(delay) })
	case "pause", "resume":
		a.each(nil, func(s *one) { s.whims.pause(words[0] == "pause") })
	default:
		return false
	}
	return true
}

func (a all) each(err error, change func(*one)) {
	if err != nil {
		emit(event{"event": "misunderstood", "why": err.Error()})
		return
	}
	for _, s := range a {
		change(s)
	}
	emit(event{"event": "done"})
}

// report sums up: counts, and for each collection how many sinks hold which version, and how many are being told one.
func (a all) report() event {
	var sum counts
	versions := map[string]map[string]int{}
	for _, s := range a {
		s.judge.mu.Lock()
		c := s.judge.counts
		sum = counts{
			sum.Streams + c.Streams, sum.Open + c.Open, sum.Full + c.Full, sum.Incremental + c.Incremental,
			sum.Acks + c.Acks, sum.Nacks + c.Nacks, sum.Faults + c.Faults,
		}
		for name, state := range s.judge.collections {
			if versions[name] == nil {
				versions[name] = map[string]int{}
			}
			versions[name][state.version]++
		}
		s.judge.mu.Unlock()
	}
	return event{"event": "report", "sinks": len(a), "counts": sum, "versions": versions}
}

// held is what the first sink has acknowledged of a collection: name to version.
func (a all) held(collection string) event {
	judge := a[0].judge
	judge.mu.Lock()
	defer judge.mu.Unlock()
	held := map[string]string{}
	version := ""
	if c := judge.collections[collection]; c != nil {
		version = c.version
		for name, of := range c.held {
			held[name] = of
		}
	}
	return event{"event": "held", "collection": collection, "version": version, "resources": held}
}
