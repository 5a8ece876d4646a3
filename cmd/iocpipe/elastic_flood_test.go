package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"iocpipe/sinks/elastic/elastictest"
)

// A steady stream says numbered lines at a steady pace: through a pipe and to a file.
type steady struct {
	n    int // lines so far
	stop chan struct{}
	done chan struct{}
}

// steadyMost bounds the lines of one: as many as [checkOnce] can look at.
const steadyMost = 9000

func startSteady(t *testing.T, pipe *program, path string) *steady {
	t.Helper()
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	s := &steady{stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(s.done)
		defer file.Close()
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for s.n < steadyMost {
			for range 5 {
				line := fmt.Sprintf("line %07d: Failed password for root from %s port 22", s.n, address(s.n))
				pipe.say("%s", line)
				_, _ = fmt.Fprintln(file, line) // what is not there is missed at the end
				s.n++
			}
			select {
			case <-tick.C:
			case <-s.stop:
				return
			}
		}
	}()
	return s
}

// end stops the flow and returns how many lines there were.
func (s *steady) end() int {
	close(s.stop)
	<-s.done
	return s.n
}

// watermarks makes a node's disk monitor believe that its disk is over all watermarks, or takes that back.
func watermarks(t *testing.T, url string, over bool) {
	t.Helper()
	low, high, flood := `"900tb"`, `"899tb"`, `"898tb"` // of free space
	if !over {
		low, high, flood = "null", "null", "null"
	}
	elastictest.Must(t, "PUT", url+"/_cluster/settings", fmt.Sprintf(`{"transient":{"cluster.routing.allocation.disk":{
		"reroute_interval":"1s","watermark.low":%s,"watermark.high":%s,"watermark.flood_stage":%s}}}`, low, high, flood))
}

// TestElasticFloodStage lets the server's own disk monitor find its disk full while lines flow: through a pipe, by --follow,
// whose process is killed meanwhile, and to an index that cannot be created before there is room again. It has a node of its
// own: the monitor blocks all indices of a node.
func TestElasticFloodStage(t *testing.T) {
	if raceEnabled {
		t.Skip("the minute that the monitor takes is for the programs without the race detector")
	}
	t.Parallel()
	node, dir := elastictest.Start(t, elastictest.OpenSearch), t.TempDir()
	path := filepath.Join(dir, "access.log")
	follow := append(toNode(node.URL, "followed", "--state", filepath.Join(dir, "state"), "--follow"), path)
	toPipe := func(index string) []string {
		return toNode(node.URL, index, "--state", "none", "--dead-letter", filepath.Join(dir, index+".letters"))
	}
	piped := start(t, toPipe("piped")...)
	stream := startSteady(t, piped, path)
	followed := start(t, follow...)
	for _, index := range []string{"piped", "followed"} {
		piped.until("documents in "+index, func() bool { return countOf(t, node.URL, index) > 0 })
	}
	full := func(p *program) {
		t.Helper()
		p.within(time.Minute, "a full disk", func() bool { return strings.Contains(p.err.String(), "disk is full") })
	}
	watermarks(t, node.URL, true) // of which the monitor takes note within ten seconds
	full(piped)
	full(followed)
	followed.kill()
	created := start(t, toPipe("created")...)
	created.say("%s", strings.TrimSuffix(lines(0, 100), "\n"))
	full(created)
	followed = start(t, follow...)
	full(followed)

	watermarks(t, node.URL, false)
	awaitAll(t, created, node.URL, "created", 100)
	created.end(0)
	n := stream.end()
	awaitAll(t, followed, node.URL, "followed", n)
	followed.cmd.Process.Signal(os.Interrupt)
	followed.end(0)
	_ = piped.in.Close()
	awaitAll(t, piped, node.URL, "piped", n)
	piped.end(0)
	checkOnce(t, node.URL, "followed", n)
	checkOnce(t, node.URL, "piped", n)
	mapped := elastictest.At(elastictest.Must(t, "GET", node.URL+"/created", ""), "created", "mappings", "properties", "threat", "properties", "enrichments", "type")
	if mapped != "nested" {
		t.Errorf("threat.enrichments is %v", mapped)
	}
}
