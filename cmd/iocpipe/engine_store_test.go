package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"iocpipe/intel/local/feed"
)

// Corrections reach every filter that runs on the host, whatever it was started with, and no line is lost meanwhile.
func TestCorrectionsReachRunningFilters(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	list := filepath.Join(dir, "list.txt")
	if err := os.WriteFile(list, []byte("203.0.113.7\nevil.example\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	iocpipe(t, 0, "", "intel", "import", list, "--state", dir)
	source := maliciousOnly(t, address(1))
	var filters []*program
	for i := range 8 {
		args := []string{"--state", dir, "--intel", source.URL, "--stats"}
		if i%2 == 0 {
			args = []string{"--state", dir, "--stats"}
		}
		filters = append(filters, start(t, args...))
	}
	all := func(line string, wanted bool) {
		t.Helper()
		begun := time.Now()
		for _, p := range filters {
			p.until(line, func() bool {
				seen := len(p.out.String())
				p.say("%s", line)
				p.until(line, func() bool {
					return strings.HasSuffix(p.out.String(), "\n") && strings.Contains(p.out.String()[seen:], line)
				})
				return strings.Contains(p.out.String()[seen:], `"malicious"`) == wanted
			})
		}
		t.Logf("%s: %v after %v", line, wanted, time.Since(begun).Round(time.Millisecond))
	}
	all("from 203.0.113.7", true)
	all("from 198.51.100.9", false)
	iocpipe(t, 0, "", "intel", "add", "198.51.100.0/24", "--note", "CASE-42", "--state", dir)
	all("from 198.51.100.9", true)
	iocpipe(t, 0, "", "intel", "rm", "203.0.113.7", "--state", dir)
	all("from 203.0.113.7", false)
	iocpipe(t, 0, "", "allow", "add", "evil.example", "--state", dir)
	all("to evil.example", false)
	iocpipe(t, 0, "", "allow", "rm", "evil.example", "--state", dir)
	all("to evil.example", true)

	// What a source said is taken back, too, where it was kept.
	for i, p := range filters {
		if i%2 == 1 {
			p.untilAnnotated("from "+address(1), `"malicious"`)
		}
	}
	iocpipe(t, 0, "", "allow", "add", address(1), "--state", dir)
	all("from "+address(1), false)
	for _, p := range filters {
		p.end(0)
		if in := strings.Count(p.out.String(), "\n"); !strings.Contains(p.err.String(), fmt.Sprintf("%s lines in, %s out", thousands(in), thousands(in))) {
			t.Errorf("%d lines left; stderr: %s", in, p.err.String())
		}
	}
}

// A store that is damaged while filters run costs annotations, not lines; the next good one is taken.
func TestStoreDamagedWhileRunning(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	store := filepath.Join(dir, "intel.store")
	iocpipe(t, 0, "", "intel", "add", "203.0.113.7", "--store", store)
	good, err := os.ReadFile(store)
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, "--store", store, "--state", "none")
	p.untilAnnotated("from 203.0.113.7", `"malicious"`)
	if err := os.Truncate(store, 100); err != nil { // in place, under its mapping
		t.Fatal(err)
	}
	p.until("complaint", func() bool {
		p.say("from 203.0.113.7")
		return strings.Contains(p.err.String(), "local store: ")
	})
	beside := store + ".new"
	if err := os.WriteFile(beside, good, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(beside, store); err != nil {
		t.Fatal(err)
	}
	p.untilAnnotated("again 203.0.113.7", `"malicious"`)
	p.end(1)
}

// The age of feeds is in the metrics, and past the limit in a warning.
func TestFeedAge(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	list := filepath.Join(dir, "list.txt")
	if err := os.WriteFile(list, []byte("203.0.113.7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	iocpipe(t, 0, "", "intel", "feed", "add", list, "--name", "mine", "--every", "1h", "--state", dir)
	iocpipe(t, 0, "", "intel", "update", "--state", dir)
	if err := feed.Change(t.Context(), registryPath(filepath.Join(dir, storeName)), func(r *feed.Registry) error {
		r.Feeds[0].Good = time.Now().Add(-100 * time.Hour)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	listed, _ := iocpipe(t, 0, "", "intel", "ls", "--state", dir)
	if !strings.Contains(listed, "4d old, stale") {
		t.Errorf("intel ls says %s", listed)
	}
	address := freeAddress(t)
	p := start(t, "--state", dir, "--listen", address)
	p.untilAnnotated("from 203.0.113.7", `"source":"mine"`)
	p.until("warning", func() bool { return strings.Contains(p.err.String(), "feed mine is") })
	samples := metrics(t, address)
	if age := samples[`iocpipe_feed_age_seconds{feed="mine"}`]; age < 360_000 || samples[`iocpipe_feed_stale{feed="mine"}`] != 1 || samples["iocpipe_local_entries"] != 1 {
		t.Errorf("metrics say %v", samples)
	}
	p.end(0)
	if n := strings.Count(p.err.String(), "feed mine is"); n != 1 {
		t.Errorf("%d warnings: %s", n, p.err.String())
	}
}
