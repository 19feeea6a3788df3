package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

const (
	spansTopic, gatewayGroup    = "async_inspect_spans", "async_inspect_gateways"
	reportsTopic, detectorGroup = "async_inspect_reports", "async_inspect_detectors"
)

// broker speaks the protocol of Kafka, and keeps its data when it is restarted.
type broker struct {
	*kfake.Cluster
	directory string
	port      int
}

func startBroker(t *testing.T) *broker {
	t.Helper()
	_, port, _ := strings.Cut(freeAddress(t), ":")
	b := &broker{directory: t.TempDir()}
	var err error
	if b.port, err = strconv.Atoi(port); err != nil {
		t.Fatal(err)
	}
	b.start(t)
	t.Cleanup(func() { b.Close() })
	return b
}

func (b *broker) start(t *testing.T) {
	t.Helper()
	var err error
	b.Cluster, err = kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(b.port), kfake.DataDir(b.directory),
		kfake.SeedTopics(12, spansTopic, "otlp_spans"), kfake.SeedTopics(1, reportsTopic))
	if err != nil {
		t.Fatal(err)
	}
}

// joined waits until a group has so many members, between which its partitions are
// divided.
func (b *broker) joined(t *testing.T, group string, members int) *kfake.GroupInfo {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	info, err := b.WaitGroupStable(ctx, group, members)
	if err != nil {
		t.Fatalf("%d members of %s: %v: %+v", members, group, err, b.GroupInfo(group))
	}
	return info
}

// Kafka gets what the default configuration keeps, with the configuration of the page.
func TestBackendKafka(t *testing.T) {
	t.Parallel()
	overlays := docsPage(t, "backends.md").blocks("Files and Kafka", "yaml")
	if len(overlays) != 2 {
		t.Fatalf("the page has %d configurations of files and Kafka, want 2", len(overlays))
	}
	b := startBroker(t)
	d := startDefault(t, overlays[1:], []string{fmt.Sprintf("KAFKA_BROKERS=[127.0.0.1:%d]", b.port)})
	d.post(t, "for Kafka")
	eventually(t, time.Minute, "a record", func() error {
		for _, p := range b.PartitionInfos("otlp_spans") {
			if p.HighWatermark > 0 {
				return nil
			}
		}
		return errors.New("not yet")
	})
}

// With Kafka between the tiers, as the page has it, every trace is whole on one gateway;
// a deadlock over two agents is found; what is sent while the broker is away arrives; and
// when a gateway and a detector are killed the others do their work.
func TestTiersOverKafka(t *testing.T) {
	t.Parallel()
	page, over := docsPage(t, "scaling.md"), make(map[string]string)
	for _, tier := range []string{"agent", "gateway", "detector"} {
		blocks := page.blocks("Kafka between the tiers", "yaml "+tier)
		if len(blocks) != 1 {
			t.Fatalf("the page has %d configurations of the %s, want 1", len(blocks), tier)
		}
		over[tier] = filepath.Join(t.TempDir(), tier+".yaml")
		writeFile(t, over[tier], blocks[0])
	}
	b := startBroker(t)
	s := startTiersWith(t, &network{first: loopback}, 2, 3, 2, []string{
		"ASYNC_INSPECT_BUDGET=100000", fmt.Sprintf("ASYNC_INSPECT_KAFKA=[127.0.0.1:%d]", b.port),
	}, over)
	b.joined(t, gatewayGroup, 3)
	b.joined(t, detectorGroup, 2)

	s.playStuck(t, "http")
	var sent []string
	load := func(traces int) {
		for range traces {
			sent = append(sent, s.send(t))
		}
	}
	load(200)
	k := s.arrived(t, sent)
	if used := k.gateways(); used != 3 || k.twice > 0 {
		t.Errorf("%d of 3 gateways have kept anything, %d spans came twice", used, k.twice)
	}
	var before deadlockSpan
	eventually(t, 30*time.Second, "the deadlock over two services", func() (err error) {
		before, err = s.deadlock("http")
		return err
	})

	b.Close()
	load(50)
	b.start(t)
	k = s.arrived(t, sent)
	t.Logf("after the broker was away %d spans had come twice", k.twice)

	b.joined(t, gatewayGroup, 3)
	b.joined(t, detectorGroup, 2)
	s.decided(t)
	s.gateways[0].kill()
	finder := 0
	if _, err := (&collector{spans: s.detectors[1].file}).deadlock("http"); err == nil {
		finder = 1
	}
	s.detectors[finder].kill()
	if err := os.Rename(s.detectors[finder].file, s.detectors[finder].file+".before"); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	load(100)
	s.arrived(t, sent)
	t.Logf("%v after a gateway was killed the others had what was sent since", time.Since(killed).Round(time.Second))
	eventually(t, time.Minute, "the same deadlock from the standby", func() error {
		after, err := s.deadlock("http")
		if err == nil && after.trace != before.trace {
			err = fmt.Errorf("it is %s, was %s", after.trace, before.trace)
		}
		return err
	})
}
