// Command stuck is many small services for the end-to-end tests: those that deadlock,
// each in its own way, and those that only look like it. It plays the case that it
// is given, says "ready" when that has begun, and stays until it is killed.
package main

import (
	"context"
	"fmt"
	"log"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/asyncinspect/asyncinspect/sdk/inspect"
)

// deadlocks end with everybody waiting; the others never do.
var (
	deadlocks = map[string]func(context.Context){
		"two-mutexes": twoMutexes, "first-use": firstUse, "ring": ring, "self": self, "abandoned": abandoned, "rwmutex-readers": rwmutexReaders, "recursive-rlock": recursiveRLock,
		"semaphore": semaphore, "join": join, "channels": channels, "select": selects, "caller": caller,
	}
	lookalikes = map[string]func(context.Context){
		"contention": contention, "slow-holder": slowHolder, "cancelled": cancelled, "livelock": livelock,
		"handed-over": handedOver, "free-permit": freePermit, "way-out": wayOut, "lock-order": lockOrder, "order-unnamed": orderUnnamed, "read-twice": readTwice, "crowd": crowd,
	}
	// handOvers release what others have taken, and end by themselves. They are in a
	// circle all the same, and may be suspected until the first release.
	handOvers = map[string]func(context.Context){
		"pool": pool, "pool-after-errors": poolAfterErrors, "pool-per-request": poolPerRequest, "unnamed-pool": unnamedPool,
		"drained-pool": drainedPool, "permit-and-lock": permitAndLock, "signal": signal, "signal-per-request": signalPerRequest,
		"unnamed-signal": unnamedSignal, "crossed-signals": crossedSignals, "write-hand-over": writeHandOver, "read-hand-over": readHandOver,
	}
	// remote cases are made of several processes; the role says which one this is.
	remote = map[string]func(context.Context, string){
		"http": httpServices, "grpc": grpcServices, "grpc-stream": grpcStream, "plain-http": plainHTTP, "plain-grpc": plainGRPC, "killed-holder": killedHolder,
		"order-external": orderExternal, "order-call": orderCall,
		"external": external("external", inspect.UntilReleased()), "external-undeclared": external("external-undeclared"),
		"external-ttl": external("external-ttl", inspect.WithTTL(12*time.Second)),
	}
)

func main() {
	log.SetFlags(0)
	if len(os.Args) < 2 {
		log.Fatalf("usage: stuck CASE [ROLE]; cases: %s", strings.Join(slices.Sorted(maps.Keys(deadlocks)), ", "))
	}
	name, role := os.Args[1], ""
	if len(os.Args) > 2 {
		role = os.Args[2]
	}
	ctx := context.Background()
	service := strings.Trim(name+" "+role, " ")
	if _, err := inspect.Start(ctx, inspect.WithServiceName(service)); err != nil {
		log.Fatal(err)
	}
	play := deadlocks[name]
	for _, more := range []map[string]func(context.Context){lookalikes, handOvers} {
		if play == nil {
			play = more[name]
		}
	}
	switch {
	case play != nil:
		play(ctx)
		fmt.Println("ready")
	case remote[name] != nil:
		remote[name](ctx, role)
		fmt.Println("ready")
	default:
		log.Fatalf("no such case: %s", name)
	}
	// Until the other end is closed: whatever becomes of the test, this goes, too.
	_, _ = os.Stdin.Read(make([]byte, 1))
}

// task runs fn as a task on a goroutine of its own.
func task(ctx context.Context, name string, fn func(context.Context)) {
	inspect.Go(ctx, name, func(ctx context.Context) error { fn(ctx); return nil })
}
