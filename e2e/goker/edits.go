package goker

import (
	"fmt"
	"slices"
	"strings"
)

// An edit changes a kernel before it is converted: the first old that follows the text
// after becomes new.
type edit struct{ file, after, old, new string }

func (e edit) apply(text string) (string, error) {
	start := strings.Index(text, e.after)
	if start < 0 {
		return "", fmt.Errorf("there is no %q", e.after)
	}
	at := strings.Index(text[start:], e.old)
	if at < 0 {
		return "", fmt.Errorf("there is no %q after %q", e.old, e.after)
	}
	at += start
	return text[:at] + e.new + text[at+len(e.old):], nil
}

// fixes are the kernels without their bugs, by name.
var fixes = map[string][]edit{
	"Cockroach584": {
		{"cockroach584.go", "bootstrap() {", "// Missing g.mu.Unlock", "g.mu.Unlock()"},
		{"cockroach584.go", "manage() {", "// Missing g.mu.Unlock", "g.mu.Unlock()"},
	},
	"Cockroach3710":  {{"cockroach3710.go", "func getTruncatableIndexes", "r.store.RaftStatus()", ""}},
	"Cockroach6181":  {{"cockroach6181.go", "LookupRangeDescriptor() {", "rdc.String()", "rdc.stringLocked()"}},
	"Cockroach7504":  {{"cockroach7504.go", ") release(lease", "defer s.mu", "s.mu"}},
	"Cockroach9935":  {{"cockroach9935.go", "outputLogEntry() {", "l.exit(err)", "l.mu.Unlock(); l.exit(err); l.mu.Lock()"}},
	"Cockroach10214": {{"cockroach10214.go", "sendQueuedHeartbeats() {", "defer s.", "s."}},
	"Cockroach16167": {{"cockroach16167.go", ") Prepare(session", "session.resetForBatch(e)", ""}},
	"Etcd5509":       {{"etcd5509.go", "if closed {", "return", "r.client.mu.RUnlock(); return"}},
	"Etcd6708":       {{"etcd6708.go", "_etcd6708) Sync(ctx", "defer c.", "c."}},
	"Etcd6873":       {{"etcd6873.go", ") stop() {", "defer wbs.", "wbs."}},
	"Etcd10492": {
		{"etcd10492.go", ") Checkpoint() {", "le.mu.Lock()", ""},
		{"etcd10492.go", ") Checkpoint() {", "defer le.mu.Unlock()", ""},
	},
	"Grpc795":  {{"grpc795.go", "if s.drain {", "s.mu.Lock()", "s.mu.Unlock()"}},
	"Grpc3017": {{"grpc3017.go", "if entry.abortDeleting {", "return", "ccc.mu.Unlock(); return"}},
	"Hugo3251": {
		{"hugo3251.go", ") URLLock(", "l.m[url].Lock()", "lock := l.m[url]"},
		{"hugo3251.go", "lock := l.m[url]", "l.Unlock()", "l.Unlock(); lock.Lock()"},
	},
	"Kubernetes10182": {{"kubernetes10182.go", ") SetPodStatus() {", "defer s.", "s."}},
	"Kubernetes13135": {{"kubernetes13135.go", "WatchCache_kubernetes13135) processEvent() {", "defer w.", "w."}},
	"Kubernetes30872": {{"kubernetes30872.go", "Impl_kubernetes30872) ClustersSynced() {", "defer f.", "f."}},
	"Kubernetes62464": {
		{"kubernetes62464.go", ") GetCPUSetOrDefault() {", "s.RLock()", ""},
		{"kubernetes62464.go", ") GetCPUSetOrDefault() {", "defer s.RUnlock()", ""},
	},
	"Moby4951": {
		{"moby4951.go", ") removeDeviceAndWait(", "devices.Unlock()", ""},
		{"moby4951.go", ") removeDeviceAndWait(", "devices.Lock()", ""},
	},
	"Moby7559": {
		{"moby7559.go", "if err != nil {", "continue", "proxy.connTrackLock.Unlock(); continue"},
		{"moby7559.go", "if i == 0 {", "break", "return"},
		{"moby7559.go", "if i == 0 {", "proxy.connTrackLock.Unlock()", ""},
		{"moby7559.go", "if err != nil {", "if i == 0 {", "proxy.connTrackLock.Unlock(); if i == 0 {"},
	},
	"Moby17176": {
		{"moby17176.go", "nrDeletedDevices == 0 {", "/// Missing devices.Unlock()", "devices.Unlock()"},
		{"moby17176.go", "doneChan :=", "make(chan bool)", "make(chan bool, 1)"},
	},
	"Moby36114":     {{"moby36114.go", ") hotAddVHDsAtStart() {", "defer svm.", "svm."}},
	"Syncthing4829": {{"syncthing4829.go", "len(removed) > 0 {", "m.notify(nil, removed)", "m.mut.Unlock(); m.notify(nil, removed); m.mut.Lock()"}},
}

// ends are the kernels in which goroutines declare their ends of channels, as a user of
// the SDK does. A kernel is given no end that its code does not have.
var ends = map[string][]edit{
	"Etcd6873": {{"etcd6873.go", "go func() { // G2", "defer", "defer sends(wbs.donec)(); defer"}},
	"Etcd7492": {{"etcd7492.go", ") run() {", "tokenTicker :=", "defer receives(tm.addSimpleTokenCh)(); tokenTicker :="}},
	"Etcd7902": {
		{"etcd7902.go", "rcs[i].acquire", "func() {}", "func() { if i == 0 { sends(nextc) } }"},
		{"etcd7902.go", "close(nextc)", "nextc = make(chan bool)", "nextc = make(chan bool); sends(nextc)"},
	},
	"Grpc1460":   {{"grpc1460.go", ") NewStream() {", "t.mu.Lock()", "defer sends(t.awakenKeepalive)(); t.mu.Lock()"}},
	"Istio16224": {{"istio16224.go", "done := make(chan bool)", "lock :=", "defer receives(done)(); lock :="}},
	"Kubernetes10182": {
		{"kubernetes10182.go", ") Start() {", "for i := 0", "defer receives(s.podStatusChannel)(); for i := 0"},
	},
	"Kubernetes26980": {
		{"kubernetes26980.go", "stopCh := make(chan struct{})", "defer close", "defer sends(stopCh)(); defer close"},
		{"kubernetes26980.go", "resultCh := make", "pl.lock.Lock()", "defer sends(resultCh)(); pl.lock.Lock()"},
	},
	"Moby28462": {{"moby28462.go", "func monitor_moby28462", "for {", "defer receives(stop)(); for {"}},
	"Serving2137": {
		{"serving2137.go", "go func() { // G2, G3", "start.Done()", "defer sends(r.accepted)(); start.Done()"},
		{"serving2137.go", "b.activeRequests <- t", "defer func() {", "defer receives(b.activeRequests)(); defer func() {"},
	},
}

// editsOf are the edits of all kernels of a table.
func editsOf(table map[string][]edit) []edit {
	var all []edit
	for _, edits := range table {
		all = append(all, edits...)
	}
	// Those of one file stay in their order.
	slices.SortStableFunc(all, func(a, b edit) int { return strings.Compare(a.file, b.file) })
	return all
}
