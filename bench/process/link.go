package main

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

const gateways = 3

// link is what connects an agent with the next tier.
type link struct {
	receivers map[string]string // of the next tier, their configurations by name
	arguments []string          // of the agent
}

func direct() link {
	l := link{receivers: make(map[string]string)}
	var addresses []string
	for i := range gateways + 1 {
		address := fmt.Sprint("127.0.0.1:", 25317+i)
		l.receivers[fmt.Sprint("otlp/", i)] = fmt.Sprintf("{protocols: {grpc: {endpoint: '%s'}}}", address)
		addresses = append(addresses, address)
	}
	l.arguments = []string{
		"--set=exporters.load_balancing/gateways.resolver.static.hostnames=[" + strings.Join(addresses[:gateways], ",") + "]",
		"--set=exporters.load_balancing/detectors.resolver.static.hostnames=[" + addresses[gateways] + "]",
	}
	return l
}

// overKafka returns what docs/scaling.md has for Kafka.
func overKafka(brokers []string) (link, error) {
	page, err := os.ReadFile("../docs/scaling.md")
	if err != nil {
		return link{}, err
	}
	blocks := make(map[string]string)
	for _, m := range regexp.MustCompile("(?s)```yaml (agent|gateway|detector)\n(.*?)```").FindAllSubmatch(page, -1) {
		blocks[string(m[1])] = string(m[2])
	}
	l := link{receivers: make(map[string]string), arguments: []string{"--config=yaml:" + blocks["agent"]}}
	for _, tier := range []string{"gateway", "detector"} {
		var config struct{ Receivers map[string]any }
		if err := yaml.Unmarshal([]byte(blocks[tier]), &config); err != nil {
			return l, fmt.Errorf("the %s on the page: %w", tier, err)
		}
		text, err := json.Marshal(config.Receivers["kafka"])
		if err != nil {
			return l, err
		}
		l.receivers["kafka/"+tier] = string(text)
	}
	return l, os.Setenv("ASYNC_INSPECT_KAFKA", "["+strings.Join(brokers, ",")+"]")
}
