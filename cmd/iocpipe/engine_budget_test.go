package main

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"iocpipe/lookup/lookuptest"
)

// checkTerms fails when more requests arrived in a window of time than a rate and a burst allow. The source noted each
// up to late after its arrival.
func checkTerms(t *testing.T, asked []lookuptest.Request, perSecond float64, burst int, late time.Duration) {
	t.Helper()
	slices.SortFunc(asked, func(a, b lookuptest.Request) int { return a.Time.Compare(b.Time) })
	for i := range asked {
		for j := i; j < len(asked); j++ {
			window := asked[j].Time.Sub(asked[i].Time)
			if most := perSecond*(window+late).Seconds() + float64(burst); float64(j-i+1) > most+1e-6 {
				t.Fatalf("%d requests within %v, noted up to %v late: the terms allow %.2f", j-i+1, window, late, most)
			}
		}
	}
}

// stalls measures how long this process, and the source in it, was kept from running at most. End ends that.
func stalls() (end func() time.Duration) {
	stop, longest := make(chan struct{}), make(chan time.Duration)
	go func() {
		var most time.Duration
		for {
			before := time.Now()
			select {
			case <-time.After(time.Millisecond):
				most = max(most, time.Since(before)-time.Millisecond)
			case <-stop:
				longest <- most
				return
			}
		}
	}()
	return func() time.Duration {
		close(stop)
		return <-longest
	}
}

// feedLines gives a program lines with addresses that nobody has met, until its end.
func feedLines(p *program, next *atomic.Int64) {
	for {
		select {
		case <-p.ended:
			return
		case <-time.After(2 * time.Millisecond):
			p.say("Failed password for root from %s port 22", address(int(next.Add(1))))
		}
	}
}

// Eight processes that share a state, killed and started at random, keep the terms in every window of time, as the
// source counts them, and use nearly all that the terms allow: in one of a few rounds, for a machine that is busy with
// other things is slow to start what was killed, and so is a program that looks for races.
func TestBudgetOfKilledProcesses(t *testing.T) {
	rounds, nearly := 3, 0.8
	if raceEnabled {
		nearly = 0.3
	}
	for range rounds {
		if killAndCount(t) > nearly {
			return
		}
	}
	t.Errorf("not even %.0f %% of what the terms allow was used", 100*nearly)
}

// killAndCount returns the share of what the terms allow that the source was asked.
func killAndCount(t *testing.T) float64 {
	t.Helper()
	const (
		processes, lasts = 8, 5 * time.Second
		perSecond, burst = 50.0, 10
	)
	source := lookuptest.NewServer(t, lookuptest.JSON(reportUnknown))
	dir := t.TempDir()
	var next atomic.Int64
	begin := func() *program {
		p := start(t, "--intel", source.URL, "--state", dir, "--rate", "50/s", "--burst", strconv.Itoa(burst), "--quiet")
		go feedLines(p, &next)
		return p
	}
	late := stalls()
	running := make([]*program, processes)
	for i := range running {
		running[i] = begin()
	}
	kills := 0
	for end := time.Now().Add(lasts); time.Now().Before(end); kills++ {
		time.Sleep(50*time.Millisecond + rand.N(250*time.Millisecond))
		i := rand.IntN(processes)
		running[i].kill()
		running[i] = begin()
	}
	for _, p := range running {
		p.kill()
	}
	asked := source.Asked()
	stalled := late()
	checkTerms(t, asked, perSecond, burst, stalled)
	took := asked[len(asked)-1].Time.Sub(asked[0].Time)
	t.Logf("%d requests in %v (%.0f allowed), %d processes killed, the source stalled %v at most", len(asked), took,
		perSecond*took.Seconds()+burst, kills, stalled)
	return float64(len(asked)) / (perSecond * took.Seconds())
}

// A process that dies as soon as it has asked something, and is started again, has one burst in all.
func TestBudgetOfCrashLoop(t *testing.T) {
	t.Parallel()
	source := lookuptest.NewServer(t, lookuptest.JSON(reportUnknown))
	dir := t.TempDir()
	crash := func(round int, stays time.Duration) {
		before := len(source.Asked())
		p := start(t, "--intel", source.URL, "--state", dir, "--rate", "1/1h", "--burst", "5")
		_, _ = p.in.Write([]byte(lines(100*round, 20)))
		for end := time.Now().Add(stays); len(source.Asked()) == before && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		p.kill()
	}
	crash(0, scriptPatience)
	if n := len(source.Asked()); n == 0 {
		t.Fatal("the first process asked nothing")
	}
	for round := range 12 {
		crash(round+1, 250*time.Millisecond)
	}
	if n := len(source.Asked()); n > 5 {
		t.Errorf("%d questions, where one burst of 5 was allowed", n)
	}
	iocpipe(t, 0, lines(5000, 20), "--intel", source.URL, "--state", dir, "--rate", "1/1h", "--burst", "5")
	if n := len(source.Asked()); n > 5 {
		t.Errorf("%d questions, where one burst of 5 was allowed", n)
	}
}

// Processes whose state cannot be used have no more than one budget in all, and no burst by starting again.
func TestBudgetWithoutState(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	source := lookuptest.NewServer(t, lookuptest.JSON(reportUnknown))
	begin := time.Now()
	for round := range 3 {
		var running []*program
		for i := range 4 {
			p := start(t, "--intel", source.URL, "--state", filepath.Join(file, "state"), "--rate", "5/s", "--burst", "20")
			p.say("%s", strings.TrimSuffix(lines(100*(4*round+i), 50), "\n"))
			running = append(running, p)
		}
		before := len(source.Asked())
		running[0].until("a question", func() bool { return len(source.Asked()) > before })
		for _, p := range running {
			p.kill()
		}
	}
	if n, most := len(source.Asked()), 5*time.Since(begin).Seconds()+1; float64(n) > most {
		t.Errorf("%d questions, the rate allows %.1f", n, most)
	}
}
