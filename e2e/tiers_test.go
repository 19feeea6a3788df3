package e2e

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// tiers are agents, gateways and detectors, each a process on a host of its own. What
// would go to a backend goes to a file of each.
type tiers struct {
	*network
	agents, gateways, detectors []tierMember
}

type tierMember struct {
	*embedded
	grpc, web       string // of agents also HTTP
	inspector, file string // of the others
}

func startTiers(t *testing.T, agents, gateways, detectors, budget int) *tiers {
	t.Helper()
	return startTiersWith(t, newNetwork(t), agents, gateways, detectors, []string{fmt.Sprint("ASYNC_INSPECT_BUDGET=", budget)}, nil)
}

// startTiersWith merges a file over the configuration of each tier that has one.
func startTiersWith(t *testing.T, n *network, agents, gateways, detectors int, environment []string, over map[string]string) *tiers {
	t.Helper()
	directory := t.TempDir()
	s := &tiers{network: n}
	tier := func(name string, n int) (members []tierMember, addresses string) {
		var all []string
		for i := range n {
			on := s.host(t)
			m := tierMember{grpc: on.freeAddress(t), inspector: on.freeAddress(t), file: filepath.Join(directory, fmt.Sprint(name, i, ".json"))}
			end := filepath.Join(directory, fmt.Sprint(name, i, ".yaml"))
			writeFile(t, end, fmt.Sprintf("exporters: {file: {path: %q, append: true, flush_interval: 100ms}}\nservice: {pipelines: {traces: {exporters: [file]}}}\n", m.file))
			m.embedded = newEmbedded(t, on, name, environment,
				"receivers.otlp.protocols.grpc.endpoint="+m.grpc, "extensions.inspector.endpoint="+m.inspector)
			m.merge(over[name])
			m.merge(end)
			if over[name] == "" {
				m.start(t, m.grpc)
			} else {
				m.start(t, m.inspector) // it is not sent to, it reads
			}
			members, all = append(members, m), append(all, m.grpc)
		}
		return members, "[" + strings.Join(all, ",") + "]"
	}
	var gatewayList, detectorList string
	s.gateways, gatewayList = tier("gateway", gateways)
	s.detectors, detectorList = tier("detector", detectors)
	for range agents {
		on := s.host(t)
		a := tierMember{grpc: on.freeAddress(t), web: on.freeAddress(t)}
		a.embedded = newEmbedded(t, on, "agent", append(environment, "ASYNC_INSPECT_GATEWAYS="+gatewayList, "ASYNC_INSPECT_DETECTORS="+detectorList),
			"receivers.otlp.protocols.grpc.endpoint="+a.grpc, "receivers.otlp.protocols.http.endpoint="+a.web,
			"extensions.inspector.endpoint="+on.freeAddress(t))
		a.merge(over["agent"])
		a.start(t, a.web)
		s.agents = append(s.agents, a)
	}
	return s
}

// playStuck plays a case, whose first process has the first agent, and the others the
// last one.
func (s *tiers) playStuck(t *testing.T, name string) {
	t.Helper()
	playStuckOn(t, s.first, buildStuck(t), name, []string{
		"OTEL_EXPORTER_OTLP_ENDPOINT=http://" + s.agents[0].grpc,
		"STUCK_CHILD_ENDPOINT=http://" + s.agents[len(s.agents)-1].grpc, "ASYNC_INSPECT_SAMPLING=0.01",
	})
}

// tierSpans are those of a trace of send.
const tierSpans = 3

// send sends a trace, each span in a request of its own and to the next agent, as from
// three services.
func (s *tiers) send(t *testing.T) (trace string) {
	t.Helper()
	trace = fmt.Sprintf("%016x%016x", rand.Uint64(), rand.Uint64())
	for n := range tierSpans {
		parent := fmt.Sprintf(`,"parentSpanId":"%016x"`, 1)
		if n == 0 {
			parent = ""
		}
		body := fmt.Sprintf(`{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":%q,"spanId":"%016x"%s,"name":"step %d","kind":2,
			"startTimeUnixNano":"1","endTimeUnixNano":"2"}]}]}]}`, trace, n+1, parent, n)
		response, err := s.first.client.Post("http://"+s.agents[n%len(s.agents)].web+"/v1/traces", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			t.Fatal(response.Status)
		}
	}
	return trace
}

// deadlock returns that of a service, from one of the detectors.
func (s *tiers) deadlock(service string) (found deadlockSpan, err error) {
	for _, d := range s.detectors {
		if found, err = (&collector{spans: d.file}).deadlock(service); err == nil {
			return found, nil
		}
	}
	return found, err
}

// kept is what the gateways have kept of the traces of send.
type kept struct {
	spans, twice int
	where        map[string]string // by trace, the file of its gateway
	wrong        []string          // traces that are not whole on one gateway
}

// gateways counts those that have kept anything.
func (k kept) gateways() int {
	files := make(map[string]bool)
	for _, file := range k.where {
		files[file] = true
	}
	return len(files)
}

func (s *tiers) kept(t *testing.T) (k kept) {
	t.Helper()
	k.where = make(map[string]string)
	for _, g := range s.gateways {
		for id, trace := range readTraces(t, g.file) {
			if !strings.HasPrefix(trace.root, "step ") && trace.root != "" {
				continue // of the services that are stuck
			}
			k.spans += trace.spans
			k.twice += trace.spans - len(trace.ids)
			if other, twice := k.where[id]; twice {
				k.wrong = append(k.wrong, fmt.Sprintf("trace %s is in %s and %s", id, other, g.file))
			}
			k.where[id] = g.file
			if strings.HasPrefix(trace.root, "step ") && len(trace.ids) != tierSpans {
				k.wrong = append(k.wrong, fmt.Sprintf("of trace %s %d of %d spans are there", id, len(trace.ids), tierSpans))
			}
		}
	}
	return k
}

// arrived waits until all of these traces are kept, each whole on one gateway.
func (s *tiers) arrived(t *testing.T, sent []string) kept {
	t.Helper()
	var k kept
	eventually(t, 90*time.Second, "all traces that were sent", func() error {
		// Spans of a trace may come seconds apart; late ones follow the decision.
		k = s.kept(t)
		missing := len(k.wrong)
		for _, trace := range sent {
			if k.where[trace] == "" {
				missing++
			}
		}
		if missing > 0 {
			return fmt.Errorf("%d of %d traces are missing", missing, len(sent))
		}
		return nil
	})
	return k
}

// decided waits until no gateway has a trace that waits.
func (s *tiers) decided(t *testing.T) {
	t.Helper()
	eventually(t, 45*time.Second, "decisions about all traces", func() error {
		for _, g := range s.gateways {
			response, err := g.client.Get("http://" + g.inspector + "/api/v1/sampling")
			if err != nil {
				return err
			}
			body, err := io.ReadAll(response.Body)
			response.Body.Close()
			if err != nil {
				return err
			}
			if !strings.Contains(string(body), `{"table":"pending_traces","size":0,`) {
				return fmt.Errorf("%s", body)
			}
		}
		return nil
	})
}

// Every trace is whole on one of three gateways, they meet the budget of the fleet, and
// a deadlock over two services, each with an agent of its own, is found by one of two
// detectors.
func TestTwoTiers(t *testing.T) {
	t.Parallel()
	const gateways, budget, traces = 3, 20, 1500 // spans a second of each gateway
	s := startTiers(t, 2, gateways, 2, budget)
	s.playStuck(t, "http")
	began := time.Now()
	for range traces {
		s.send(t)
	}
	seconds := time.Since(began).Seconds()
	eventually(t, 30*time.Second, "the deadlock over two services", func() error {
		_, err := s.deadlock("http")
		return err
	})
	s.decided(t)
	k := s.kept(t)
	if len(k.wrong) > 0 || k.twice > 0 {
		t.Errorf("%d spans came twice\n%s", k.twice, strings.Join(k.wrong, "\n"))
	}
	if used := k.gateways(); used != gateways {
		t.Errorf("only %d of %d gateways have kept anything", used, gateways)
	}
	t.Logf("%d spans in %.1f s, of which %d are kept; the budget is %d a second", traces*tierSpans, seconds, k.spans, gateways*budget)
	// Two seconds of burst, and some in which what came last is decided.
	if most := gateways * budget * (seconds + 5); float64(k.spans) > most || float64(k.spans) < gateways*budget*(seconds-1)*0.8 {
		t.Errorf("%d spans are kept, the budget and its burst are %.0f", k.spans, most)
	}
}

// A gateway and a detector that are killed take with them what they held in memory, and
// nothing else: what comes meanwhile waits in the agent, and a deadlock is found again
// under the same id.
func TestTwoTiersSurviveKills(t *testing.T) {
	t.Parallel()
	s := startTiers(t, 1, 3, 1, 100_000)
	s.playStuck(t, "http")
	var before deadlockSpan
	eventually(t, 30*time.Second, "the deadlock", func() (err error) {
		before, err = s.deadlock("http")
		return err
	})
	for range 100 {
		s.send(t)
	}
	s.decided(t)
	s.gateways[0].kill()
	s.detectors[0].kill()
	var sent []string
	for range 200 {
		sent = append(sent, s.send(t))
	}
	s.gateways[0].start(t, s.gateways[0].grpc)
	if err := os.Rename(s.detectors[0].file, s.detectors[0].file+".before"); err != nil {
		t.Fatal(err)
	}
	s.detectors[0].start(t, s.detectors[0].grpc)
	s.arrived(t, sent)
	eventually(t, time.Minute, "the same deadlock from the new detector", func() error {
		after, err := s.deadlock("http")
		if err == nil && after.trace != before.trace {
			err = fmt.Errorf("it is %s, was %s", after.trace, before.trace)
		}
		return err
	})
}

// A gateway and a detector that nobody reaches, for longer than the agents wait for an
// answer, lose nothing and invent nothing: the rest goes on, what is for them waits in
// the agents, and the deadlock that stood before still stands, under the same id.
func TestTwoTiersSurviveAPartition(t *testing.T) {
	if err := canHaveNamespaces(); err != nil {
		t.Skipf("only network namespaces have links that can be cut: %v", err)
	}
	t.Parallel()
	s := startTiers(t, 2, 3, 1, 100_000)
	gateway, detector := s.gateways[0], s.detectors[0]
	for _, name := range []string{"http", "slow-holder", "contention", "killed-holder"} {
		s.playStuck(t, name)
	}
	var before deadlockSpan
	eventually(t, 30*time.Second, "the deadlock", func() (err error) {
		before, err = s.deadlock("http")
		return err
	})
	var sent []string
	load := func() {
		for range 10 {
			sent = append(sent, s.send(t))
		}
	}
	load()
	s.arrived(t, sent)

	gateway.cut(t)
	detector.cut(t)
	cut, connected := time.Now(), len(sent)
	// That is longer than the lease of a process. But while the detector hears nobody at
	// all, for up to two minutes, it takes no process for lost and no deadlock for over.
	const apart = 40 * time.Second
	eventually(t, 2*time.Minute, "agents that notice", func() error {
		if len(sent) < connected+300 { // the agents queue it, and have room for 1,000
			sent = append(sent, s.send(t))
		}
		for _, a := range s.agents {
			for _, address := range []string{gateway.grpc, detector.grpc} {
				if !a.retries(address) {
					return fmt.Errorf("an agent still waits for %s", address)
				}
			}
		}
		if left := apart - time.Since(cut); left > 0 {
			return fmt.Errorf("the links are to be cut for another %v", left)
		}
		return nil
	})
	if detector.knowsNoDeadlock() == nil {
		t.Error("the detector has forgotten the deadlock while it heard nobody")
	}
	k := s.kept(t)
	there := 0
	for _, trace := range sent[connected:] {
		switch k.where[trace] {
		case "":
		case gateway.file:
			t.Errorf("trace %s has come through a link that is cut", trace)
		default:
			there++
		}
	}
	if there < (len(sent)-connected)/3 {
		t.Errorf("of %d traces only %d have come to the other gateways", len(sent)-connected, there)
	}

	gateway.heal(t)
	detector.heal(t)
	healed := time.Now()
	load()
	k = s.arrived(t, sent)
	t.Logf("cut off for %v; %v later all of %d traces were there, %d spans of them twice",
		healed.Sub(cut).Round(time.Second), time.Since(healed).Round(time.Second), len(sent), k.twice)
	eventually(t, time.Minute, "the deadlock once more", func() error {
		if detector.knowsNoDeadlock() == nil {
			return errors.New("not yet")
		}
		return nil
	})
	found, err := readDeadlocks(detector.file)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range found {
		if d.trace != before.trace {
			t.Errorf("a deadlock of %s, which is none: %v", d.attributes["async_inspect.deadlock.services"], d.attributes)
		}
	}
}

// retries says whether an agent has tried in vain to send to an address.
func (m *tierMember) retries(address string) bool {
	for line := range strings.Lines(m.log.String()) {
		if strings.Contains(line, "Will retry") && strings.Contains(line, address) {
			return true
		}
	}
	return false
}

// knowsNoDeadlock asks a detector on its own host, whatever has become of its link.
func (m *tierMember) knowsNoDeadlock() error {
	response, err := m.client.Get("http://" + m.inspector + "/metrics")
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(body)) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "async_inspect_deadlocks_active{confidence=\"certain\"} "); ok {
			if value == "0" {
				return nil
			}
			return fmt.Errorf("%s deadlocks", value)
		}
	}
	return errors.New("no deadlocks_active")
}
