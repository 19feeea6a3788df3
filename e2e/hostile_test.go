package e2e

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

var hostileTimes = flag.Int("hostile", 1, "by how much more than in the short test hostile senders send")

// attack is a hostile sender at work on the distribution with its default configuration.
type attack struct {
	*defaults
	*sender
	own metrics // the collector's own metrics
}

// startAttack starts the distribution, and an honest process that deadlocks for good.
func startAttack(t *testing.T, stuck string) *attack {
	t.Helper()
	own := freeAddress(t)
	host, port, _ := strings.Cut(own, ":")
	a := &attack{own: metrics(own)}
	a.defaults = startDefault(t, []string{fmt.Sprintf(`
service:
  telemetry:
    metrics:
      readers:
        - pull:
            exporter:
              prometheus: {host: %s, port: %s, without_scope_info: true, without_type_suffix: true, without_units: true}
`, host, port)}, nil, "service.telemetry.metrics.level=normal")
	a.sender = newSender(a.http)
	a.play(t, stuck, "two-mutexes")
	return a
}

// play starts an honest process that deadlocks, and waits until that is known.
func (a *attack) play(t *testing.T, stuck, service string) {
	t.Helper()
	playStuck(t, stuck, service, []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://" + a.grpc, "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"})
	eventually(t, time.Minute, "the deadlock of "+service, func() error { return a.standing(service) })
}

// keep sends the heartbeats of a hostile process until the test ends.
func (a *attack) keep(t *testing.T, p *hostile, waits int) {
	a.flush(t.Context())
	kept := *p
	kept.sender, kept.scope = newSender(a.http), nil
	ctx, stop := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		for ctx.Err() == nil {
			kept.beats(ctx, waits)
			kept.flush(ctx)
			select {
			case <-time.After(3 * time.Second):
			case <-ctx.Done():
			}
		}
	})
	t.Cleanup(func() { stop(); done.Wait() })
}

// standing reports what is wrong with the one deadlock of a service.
func (a *attack) standing(service string) error {
	var answer struct {
		Deadlocks []struct{ Standing bool }
	}
	if err := a.ask("/api/v1/deadlocks?service="+url.QueryEscape(service), &answer); err != nil {
		return err
	}
	if len(answer.Deadlocks) != 1 || !answer.Deadlocks[0].Standing {
		return fmt.Errorf("its deadlocks are %v", answer.Deadlocks)
	}
	return nil
}

func (a *attack) ask(path string, answer any) error {
	text, err := get(http.DefaultClient, "http://"+a.inspector+path)
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(text), answer)
}

// undisturbed waits until heartbeats of the honest process have been taken that were
// sent after this call, and checks that it was never thought lost, that its deadlock
// never was over, and that both ports can be scraped.
func (a *attack) undisturbed(t *testing.T, service string) {
	t.Helper()
	now := time.Now()
	eventually(t, time.Minute, "heartbeats of "+service, func() error {
		var answer struct {
			Processes []struct {
				Status      string
				LastHeardAt time.Time `json:"last_heard_at"`
			}
		}
		if err := a.ask("/api/v1/processes?service="+url.QueryEscape(service), &answer); err != nil {
			return err
		}
		if len(answer.Processes) != 1 || answer.Processes[0].Status != "reporting" || answer.Processes[0].LastHeardAt.Before(now) {
			return fmt.Errorf("its processes are %+v, and it was %v", answer.Processes, now)
		}
		return nil
	})
	if err := a.standing(service); err != nil {
		t.Error(err)
	}
	for line := range strings.Lines(a.log.String()) {
		if strings.Contains(line, "A deadlock is over.") && strings.Contains(line, service) {
			t.Error(line)
		}
	}
	for _, port := range []string{a.inspector, string(a.own)} {
		if _, err := get(http.DefaultClient, "http://"+port+"/metrics"); err != nil {
			t.Error(err)
		}
	}
}

// peak returns the most memory that the collector has had since the last call.
func (a *attack) peak(t *testing.T) (mib int) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", a.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if value, found := strings.CutPrefix(line, "VmHWM:"); found {
			kib, err := strconv.Atoi(strings.Fields(value)[0])
			if err != nil {
				t.Fatal(err)
			}
			mib = kib >> 10
		}
	}
	// 5 makes the peak what there is now.
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", a.cmd.Process.Pid), []byte("5"), 0); err != nil {
		t.Fatal(err)
	}
	return mib
}

// spent returns the processor time of the collector.
func (a *attack) spent(t *testing.T) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", a.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')'):]))
	var ticks int
	for _, field := range fields[12:14] { // utime, stime, in hundredths of a second
		n, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// A sender of hostile input costs the others nothing: heartbeats of an honest process
// are taken, its deadlock stands, another one is found afterwards, memory is bounded,
// and both ports can be scraped. Each vector is sent once, and ten times as much.
func TestHostileSenders(t *testing.T) {
	if _, err := os.Stat("/proc/self/clear_refs"); err != nil {
		t.Skip("the peak of memory is read from /proc")
	}
	stuck := buildStuck(t)
	for _, v := range vectors {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			a := startAttack(t, stuck)
			a.peak(t)
			for _, times := range []int{1, 10} {
				n, began := v.n*times**hostileTimes, a.spent(t)
				*a.sender = *newSender(a.http)
				v.send(t, a, n)
				a.flush(t.Context())
				if a.err != nil {
					t.Errorf("%d %s: %v", n, v.of, a.err)
				}
				a.undisturbed(t, "two-mutexes")
				peak := a.peak(t)
				if peak > maxPeakMiB {
					t.Errorf("%d MiB, more than %d", peak, maxPeakMiB)
				}
				t.Logf("| %d %s | %.1f MiB in %d requests, %d refused | %d MiB | processor time %v",
					n, v.of, float64(a.bytes)/(1<<20), a.requests, a.refused, peak, a.spent(t)-began)
			}
			a.play(t, stuck, "ring")
			a.undisturbed(t, "ring")
			if v.after != nil {
				v.after(t, a)
			}
			if t.Failed() {
				return
			}
			a.stop(t)
			a.cmd = nil
		})
	}
}

// maxPeakMiB bounds the memory of the collector, whose memory_limiter refuses from
// 384 MiB on.
const maxPeakMiB = 1024

// waitForDeadlock bounds what takes a second on a machine that is not busy.
const waitForDeadlock = time.Minute
