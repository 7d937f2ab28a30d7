// Command go-events measures github.com/docker/go-events for benches/ten_thousand, which builds and starts it.
//
//	queues 10000 20    set up, writes until all are delivered, close, in milliseconds; memory, in megabytes
//	queue 4 400000     a queue with four producers, in nanoseconds an event
package main

import (
	"bufio"
	"fmt"
	"log"
	"math"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	events "github.com/docker/go-events"
)

// What still runs then hangs.
const limit = 300 * time.Second

// An event that is made once: what is measured is the queue, and not the making of events.
var event events.Event = &struct{}{}

// How many sinks still wait for events.
type waiting struct {
	sinks int64
	done  chan struct{}
}

// Counts its own events, and among all sinks itself once it has them all. Only the queue's goroutine writes to it.
type awaits struct {
	events  int
	waiting *waiting
}

func (a *awaits) Write(events.Event) error {
	a.events--
	if a.events == 0 && atomic.AddInt64(&a.waiting.sinks, -1) == 0 {
		close(a.waiting.done)
	}
	return nil
}

func (a *awaits) Close() error { return nil }

func millis(since time.Time) float64 {
	return float64(time.Since(since).Nanoseconds()) / 1e6
}

// The memory that this process holds, in megabytes; not a number where the system does not tell.
func resident() float64 {
	status, err := os.Open("/proc/self/status")
	if err != nil {
		return math.NaN()
	}
	defer status.Close()
	for lines := bufio.NewScanner(status); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) == 3 && fields[0] == "VmRSS:" {
			return float64(number(fields[1])) * 1024 / 1e6
		}
	}
	return math.NaN()
}

func queues(queues, writes int) {
	waiting := &waiting{sinks: int64(queues), done: make(chan struct{})}
	before := resident()

	start := time.Now()
	broadcaster := events.NewBroadcaster()
	for i := 0; i < queues; i++ {
		must(broadcaster.Add(events.NewQueue(&awaits{events: writes, waiting: waiting})))
	}
	setUp := millis(start)

	start = time.Now()
	for i := 0; i < writes; i++ {
		must(broadcaster.Write(event))
	}
	<-waiting.done
	delivered := millis(start)
	memory := resident() - before

	start = time.Now()
	must(broadcaster.Close())
	fmt.Println(setUp, delivered, millis(start), memory)
}

func queue(producers, writes int) {
	waiting := &waiting{sinks: 1, done: make(chan struct{})}
	share := writes / producers
	queue := events.NewQueue(&awaits{events: share * producers, waiting: waiting})
	start := time.Now()
	var group sync.WaitGroup
	for i := 0; i < producers; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for i := 0; i < share; i++ {
				must(queue.Write(event))
			}
		}()
	}
	group.Wait()
	must(queue.Close())
	<-waiting.done
	fmt.Println(float64(time.Since(start).Nanoseconds()) / float64(share*producers))
}

func number(text string) int {
	number, err := strconv.Atoi(text)
	must(err)
	return number
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	time.AfterFunc(limit, func() { log.Fatalf("stopped after %v", limit) })
	measure := map[string]func(int, int){"queues": queues, "queue": queue}
	if len(os.Args) != 4 || measure[os.Args[1]] == nil {
		log.Fatal("queues QUEUES WRITES, or queue PRODUCERS WRITES")
	}
	measure[os.Args[1]](number(os.Args[2]), number(os.Args[3]))
}
