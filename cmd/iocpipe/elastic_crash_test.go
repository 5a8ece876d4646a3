package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"iocpipe/sinks/elastic/elastictest"
)

// A growing log is written to line by line, and rotated now and then.
type growing struct {
	path    string
	written atomic.Int64
}

// grow writes n lines with short pauses; each rotation by renaming begins a new file.
func (g *growing) grow(t *testing.T, n, rotateEvery int) (done chan struct{}) {
	done = make(chan struct{})
	file, err := os.OpenFile(g.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(done)
		for i := range n {
			if i > 0 && i%rotateEvery == 0 {
				file = g.rotate(t, file, i/rotateEvery)
			}
			if _, err := fmt.Fprintf(file, "line %07d: Failed password for root from %s port 22\n", i, address(i)); err != nil {
				t.Error(err)
				return
			}
			g.written.Add(1)
			if i%50 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
		_ = file.Close()
	}()
	return done
}

func (g *growing) rotate(t *testing.T, file *os.File, number int) *os.File {
	_ = file.Close()
	if err := os.Rename(g.path, fmt.Sprintf("%s.%d", g.path, number)); err != nil {
		t.Error(err)
	}
	file, err := os.OpenFile(g.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Error(err)
	}
	return file
}

// countOf asks a node how many documents it holds for a target.
func countOf(t *testing.T, url, target string) int {
	t.Helper()
	if status, _ := elastictest.Call(t, "POST", url+"/"+target+"/_refresh", ""); status != 200 {
		return 0
	}
	n, _ := elastictest.At(elastictest.Must(t, "GET", url+"/"+target+"/_count", ""), "count").(float64)
	return int(n)
}

// checkOnce wants each of the first n lines once.
func checkOnce(t *testing.T, url, target string, n int) {
	t.Helper()
	times := make(map[string]int)
	stored := elastictest.Documents(t, url, target)
	for _, d := range stored {
		message, _ := d.Source["message"].(string)
		number, _, _ := strings.Cut(message, ":")
		times[number]++
	}
	var lost, twice []string
	for i := range n {
		switch number := fmt.Sprintf("line %07d", i); times[number] {
		case 0:
			lost = append(lost, number)
		case 1:
		default:
			twice = append(twice, number)
		}
	}
	t.Logf("%d lines, %d documents: %d lost, %d twice", n, len(stored), len(lost), len(twice))
	if len(lost)+len(twice) > 0 || len(stored) != n {
		t.Errorf("lost: %.10q; twice: %.10q", lost, twice)
	}
}

// awaitAll waits until a node holds n documents.
func awaitAll(t *testing.T, p *program, url, target string, n int) {
	t.Helper()
	end := time.Now().Add(2 * time.Minute)
	for countOf(t, url, target) < n {
		if time.Now().After(end) {
			t.Fatalf("%d of %d documents; stderr: %s", countOf(t, url, target), n, &p.err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// TestElasticKills kills the program again and again while it follows a log that grows and rotates. In the end each line
// is in the index once.
func TestElasticKills(t *testing.T) {
	const n, kills = 9000, 12
	for _, kind := range []elastictest.Kind{elastictest.OpenSearch, elastictest.ES9} {
		t.Run(string(kind), func(t *testing.T) {
			url, target, dir := elastictest.Node(t, kind), streamName("kills"), t.TempDir()
			if kind == elastictest.OpenSearch {
				t.Cleanup(func() { elastictest.Call(t, "DELETE", url+"/_data_stream/"+target, "") })
			}
			iocpipe(t, 0, "", "--to", "elasticsearch", "--es-url", url, "--es-setup")
			log := growing{path: filepath.Join(dir, "access.log")}
			args := append(toNode(url, target, "--state", filepath.Join(dir, "state"), "--follow"), log.path)
			done := log.grow(t, n, n/4)
			for range kills {
				p := start(t, args...)
				time.Sleep(time.Duration(rand.IntN(700)) * time.Millisecond)
				p.kill()
			}
			<-done
			p := start(t, args...)
			awaitAll(t, p, url, target, n)
			p.until("going on", func() bool { return strings.Contains(p.err.String(), "goes on at") }) // all may have been there before
			p.cmd.Process.Signal(os.Interrupt)
			p.end(0)
			checkOnce(t, url, target, n)
		})
	}
}

// TestElasticNodeKills kills the server again and again, and it comes back with what it had confirmed.
func TestElasticNodeKills(t *testing.T) {
	const n = 9000
	node, dir := elastictest.Start(t, elastictest.ES8), t.TempDir()
	log := growing{path: filepath.Join(dir, "access.log")}
	done := log.grow(t, n, n/3)
	p := start(t, append(toNode(node.URL, "events", "--state", filepath.Join(dir, "state"), "--follow"), log.path)...)
	for range 2 {
		p.until("more documents", func() bool { return countOf(t, node.URL, "events") > 0 })
		time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond)
		node.Kill()
		time.Sleep(time.Duration(rand.IntN(1000)) * time.Millisecond)
		node.Again()
	}
	<-done
	awaitAll(t, p, node.URL, "events", n)
	p.cmd.Process.Signal(os.Interrupt)
	p.end(0)
	checkOnce(t, node.URL, "events", n)
}

// TestElasticFullDisk puts the block on an index that a server puts on it when the disk is full, and takes it off.
func TestElasticFullDisk(t *testing.T) {
	onNodes(t, func(t *testing.T, kind elastictest.Kind, url, name string) {
		t.Parallel()
		elastictest.Must(t, "PUT", url+"/"+name, `{}`)
		block := func(on string) {
			elastictest.Must(t, "PUT", url+"/"+name+"/_settings", `{"index.blocks.read_only_allow_delete":`+on+`}`)
		}
		block("true")
		p := start(t, toNode(url, name, "--state", "none", "--dead-letter", filepath.Join(t.TempDir(), "letters"))...)
		p.say("%s", strings.TrimSuffix(lines(0, 100), "\n"))
		p.until("a complaint", func() bool { return strings.Contains(p.err.String(), "flood-stage") })
		block("null")
		_ = p.in.Close()
		select {
		case <-p.ended:
		case <-time.After(2 * time.Minute):
		}
		p.end(0)
		if got := countOf(t, url, name); got != 100 {
			t.Errorf("%d documents", got)
		}
	})
}

// TestElasticRotation: what rotation leaves compressed is read once, too.
func TestElasticRotation(t *testing.T) {
	url, dir := elastictest.Node(t, elastictest.OpenSearch), t.TempDir()
	target := fmt.Sprintf("rotation-%d", os.Getpid())
	t.Cleanup(func() { elastictest.Call(t, "DELETE", url+"/"+target, "") })
	var text []string
	for i := range 300 {
		text = append(text, fmt.Sprintf("line %07d: from %s\n", i, address(i)))
	}
	path := filepath.Join(dir, "app.log")
	for i, part := range slices.Collect(slices.Chunk(text, 100)) {
		writeFile(t, fmt.Sprintf("%s.%d", path, 2-i), strings.Join(part, ""))
	}
	if err := os.Rename(path+".0", path); err != nil {
		t.Fatal(err)
	}
	p := start(t, append(toNode(url, target, "--state", filepath.Join(dir, "state"), "--follow", "--follow-old"), path)...)
	awaitAll(t, p, url, target, 300)
	if err := os.Truncate(path, 0); err != nil { // copy-truncate
		t.Fatal(err)
	}
	p.until("truncation", func() bool {
		return strings.Contains(p.err.String(), "truncat") || strings.Contains(p.err.String(), "shorter")
	})
	writeFile(t, path, fmt.Sprintf("line %07d: after\n", 300))
	awaitAll(t, p, url, target, 301)
	p.cmd.Process.Signal(os.Interrupt)
	p.end(0)
	checkOnce(t, url, target, 301)
}
