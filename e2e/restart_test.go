package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Prometheus counts each task once while the collector is killed and reloads its
// configuration, a replica ends, and another one is killed.
func TestPrometheusCountsOverRestarts(t *testing.T) {
	prometheus := debianProgram(t, "prometheus")
	for _, stored := range []bool{true, false} {
		t.Run(fmt.Sprint("storage ", stored), func(t *testing.T) {
			t.Parallel()
			inspector := freeAddress(t)
			extensions, ids, state := fmt.Sprintf("\n  inspector: {endpoint: %q}", inspector), "inspector", ""
			if stored {
				extensions += fmt.Sprintf("\n  file_storage: {directory: %q}", t.TempDir())
				ids, state = "inspector, file_storage", "\n    storage: file_storage"
			}
			collector := startCollector(t,
				"processors:\n  deadlock", "extensions:"+extensions+"\nprocessors:\n  deadlock",
				"    log_interval: 1s", "    log_interval: 1s"+state,
				"service:\n", "service:\n  extensions: ["+ids+"]\n")
			server := startPrometheus(t, prometheus, t.TempDir(), inspector, "")
			scraped(t, server)

			// One replica ends before the collector is killed, one works all the time, and
			// one is killed itself when it has done a known number of tasks.
			sends := sendTo(collector, "grpc", "0.01")
			ends := startDemo(t, sends, "-orders", "100", "-for", "18s")
			works := startDemo(t, sends, "-orders", "100", "-for", "1m5s")
			dies := startDemo(t, sends, "-orders", "0")
			const ordered = 90
			for range ordered {
				dies.order(t)
			}
			ends.wait(t)
			eventually(t, 30*time.Second, "many tasks", func() error {
				n, err := orders(collector)
				if want := 2000 + ends.counted(t)["shop"][order].Started + ordered; err == nil && n < want {
					err = fmt.Errorf("%v, want at least %v", n, want)
				}
				return err
			})
			time.Sleep(6 * time.Second) // a heartbeat of the one that is to die, so that all it did is counted
			if err := dies.cmd.Process.Signal(killed); err != nil {
				t.Fatal(err)
			}
			scraped(t, server)
			collector.kill(killed)
			time.Sleep(7 * time.Second) // a heartbeat fails
			collector.start(t)
			scraped(t, server)
			before, err := orders(collector)
			if err != nil {
				t.Fatal(err)
			}
			eventually(t, 30*time.Second, "the replica that works connects again", func() error {
				n, err := orders(collector)
				if err == nil && n <= before {
					err = fmt.Errorf("%v orders", n)
				}
				return err
			})
			scraped(t, server) // a new series is 0 in its first scrape
			scraped(t, server)
			if err := collector.cmd.Process.Signal(syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
			eventually(t, 30*time.Second, "the reload", func() error {
				if !strings.Contains(collector.log.String(), "Config updated") {
					return errors.New("not yet")
				}
				return nil
			})
			works.wait(t)

			want := ordered + ends.counted(t)["shop"][order].Started + works.counted(t)["shop"][order].Started
			// Without a storage, what was counted after the last scrape before each restart is
			// missing, and what a process did between two heartbeats around a reload.
			least := want
			if !stored {
				least = 0.8 * want
			}
			selector := fmt.Sprintf(`async_inspect_tasks_total{service="shop",task=%q}`, order)
			eventually(t, 30*time.Second, "the orders in Prometheus", func() error {
				got, resets, err := server.counted(selector)
				if err != nil || got < least || got > want || stored && resets > 0 {
					return fmt.Errorf("%v with %d resets (%v), want %v to %v", got, resets, err, least, want)
				}
				// increase() extrapolates by up to half a scrape at both ends.
				got, err = server.query("sum(increase(" + selector + "[10m]))")
				if err != nil || got < 0.97*least || got > 1.03*want {
					return fmt.Errorf("increase() is %v (%v), want about %v to %v", got, err, least, want)
				}
				return nil
			})
			got, resets, _ := server.counted(selector)
			t.Logf("%v of %v orders, %d resets", got, want, resets)
		})
	}
}

const order = "POST /orders/{item}"

// orders is how many the collector has counted.
func orders(c *collector) (float64, error) {
	return c.sum(startedTasks, map[string]string{"service": "shop", "task": order})
}

// order buys something.
func (d *demo) order(t *testing.T) {
	t.Helper()
	response, err := d.client.Post(d.address+"/orders/apple", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, response.Body)
	response.Body.Close()
}

// scraped waits until Prometheus has scraped once more.
func scraped(t *testing.T, server *prometheusServer) {
	t.Helper()
	began := time.Now()
	eventually(t, 30*time.Second, "a scrape", func() error {
		at, err := server.query(`timestamp(async_inspect_build_info)`)
		if err == nil && at < float64(began.UnixMilli())/1000 {
			err = errors.New("none yet")
		}
		return err
	})
}

// counted adds up by how much the series of a selector have grown, as increase() does
// without its extrapolation, and how many times one of them fell.
func (p *prometheusServer) counted(selector string) (sum float64, resets int, err error) {
	response, err := http.Get("http://" + p.address + "/api/v1/query?query=" + url.QueryEscape(selector+"[10m]"))
	if err != nil {
		return 0, 0, err
	}
	defer response.Body.Close()
	var answer struct {
		Data struct {
			Result []struct{ Values [][2]any }
		}
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return 0, 0, err
	}
	for _, series := range answer.Data.Result {
		before := -1.0
		for _, v := range series.Values {
			now, err := strconv.ParseFloat(fmt.Sprint(v[1]), 64)
			switch {
			case err != nil:
				return 0, 0, err
			case before < 0: // increase() counts from here
			case now < before:
				resets++
				sum += now
			default:
				sum += now - before
			}
			before = now
		}
	}
	return sum, resets, nil
}
