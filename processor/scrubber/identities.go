package scrubber

import (
	"strings"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// protocolPrefix begins the keys of the async-inspect protocol.
const protocolPrefix = "async_inspect."

// protocolTexts are the attributes of the protocol that are only shown. All others are
// numbers, ids and words of closed lists, by which the collector recognises things.
var protocolTexts = map[string]bool{
	taskspan.TaskName:                true,
	taskspan.TaskLongestWaitResource: true,
	taskspan.WaitResourceName:        true,
	taskspan.WaitCallers:             true,
	taskspan.HoldTaskName:            true,
	taskspan.LockOrderHeldName:       true,
	taskspan.LockOrderTakenName:      true,
	taskspan.LockOrderHeldFunction:   true,
	taskspan.LockOrderHeldFile:       true,
	taskspan.DeadlockCycle:           true,
	taskspan.DeadlockSuggestion:      true,
}

// identities are attributes by which processes are told apart, beside those of the protocol.
var identities = map[string]bool{
	taskspan.ServiceName:       true,
	taskspan.ServiceInstanceID: true,
	"service.namespace":        true,
}

// identifies reports whether an attribute is left alone because others recognise
// something by it.
func identifies(key string) bool {
	return identities[key] || strings.HasPrefix(key, protocolPrefix) && !protocolTexts[key]
}
