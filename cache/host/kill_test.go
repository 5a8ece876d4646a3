package host

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"iocpipe/cache"
	"iocpipe/extract"
	"iocpipe/intel"
)

// A test binary that finds helperVariable in its environment is a process of these tests: what its value names.
const helperVariable = "HOST_TEST_HELPER"

func TestMain(m *testing.M) {
	name, arguments, _ := strings.Cut(os.Getenv(helperVariable), " ")
	helper := map[string]func(dir, argument string) error{"write": helpWrite, "ask": helpAsk}[name]
	if helper == nil {
		os.Exit(m.Run())
	}
	dir, argument, _ := strings.Cut(arguments, " ")
	fmt.Fprintln(os.Stderr, helper(dir, argument))
	os.Exit(1)
}

// helperProcess returns a process that is not started yet and dies with the test.
func helperProcess(t *testing.T, arguments ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), helperVariable+"="+strings.Join(arguments, " "))
	cmd.Stderr = os.Stderr
	return cmd
}

// helpWrite puts answers that are numbered without end, and says of each when it was put.
func helpWrite(dir, source string) error {
	s, err := Open(dir, Options{MaxBytes: 1 << 30})
	if err != nil {
		return err
	}
	for n := 0; ; n++ {
		key, a := extract.Key{Type: extract.Domain, Value: source + strconv.Itoa(n) + ".example"}, answerNow(source, -1)
		a.Report.References = []string{strings.Repeat("x", 200)}
		s.Put(key, a)
		related := ip(fmt.Sprintf("203.0.113.%d", n%256))
		s.Relate(related, intel.Finding{Source: source, Via: key, Relation: intel.ByResolution})
		if _, err := fmt.Println(n, time.Now().UnixMilli()); err != nil {
			return err
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// TestKilledWriters kills processes while they write: the file is whole each time, and nothing is missing but the last
// answers of each.
func TestKilledWriters(t *testing.T) {
	dir := t.TempDir()
	for round := range 2 {
		sources := []string{fmt.Sprintf("a%d-", round), fmt.Sprintf("b%d-", round)}
		var put [2][]int64
		var all sync.WaitGroup
		for i, source := range sources {
			cmd := helperProcess(t, "write", dir, source)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			life := 1200*time.Millisecond + rand.N(500*time.Millisecond)
			all.Go(func() { put[i] = readAndKill(out, cmd, life) })
		}
		all.Wait()
		s := openTest(t, dir, Options{OnTrouble: func(err error) { t.Error(err) }})
		if got := queryOne(t, s.current().write, `PRAGMA integrity_check`); got != "ok" {
			t.Fatalf("round %d: %s", round, got)
		}
		for i, source := range sources {
			checkOnlyLastMissing(t, s, source, put[i])
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// readAndKill returns what a writer says, by number, until it has lived for life since the first.
func readAndKill(out io.Reader, cmd *exec.Cmd, life time.Duration) (put []int64) {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if len(put) == 0 {
			defer time.AfterFunc(life, func() { _ = cmd.Process.Kill() }).Stop()
		}
		_, at, _ := strings.Cut(lines.Text(), " ")
		milli, err := strconv.ParseInt(at, 10, 64)
		if err != nil {
			break // cut off
		}
		put = append(put, milli)
	}
	_ = cmd.Wait() // it was killed
	return put
}

// checkOnlyLastMissing fails when an answer is missing that was put well before the last one, or is followed by one that
// is there.
func checkOnlyLastMissing(t *testing.T, s *State, source string, put []int64) {
	t.Helper()
	missing := -1
	for n := range put {
		_, ok := s.Get(extract.Key{Type: extract.Domain, Value: source + strconv.Itoa(n) + ".example"})
		if !ok && missing < 0 {
			missing = n
		}
		if ok && missing >= 0 {
			t.Fatalf("%s: %d is there, %d is not", source, n, missing)
		}
	}
	if len(put) == 0 {
		t.Fatalf("%s: wrote nothing", source)
	}
	const lastSecond = 2000 // ms: the writing starts every second, and a busy machine may take one more
	if missing >= 0 && put[len(put)-1]-put[missing] > lastSecond {
		t.Errorf("%s: %d answers are missing, of %d ms", source, len(put)-missing, put[len(put)-1]-put[missing])
	}
}

const (
	helpRate  = 50.0
	helpBurst = 10
)

// helpAsk asks the server at url whatever the budget allows, about something else each time.
func helpAsk(dir, url string) error {
	s, err := Open(dir, Options{})
	if err != nil {
		return err
	}
	b := s.Budget("counting", helpRate, helpBurst)
	for n := 0; ; n++ {
		time.Sleep(b.Delay(time.Now()))
		key := extract.Key{Type: extract.Domain, Value: fmt.Sprintf("%s-%d.example", strings.ToLower(s.owner), n)}
		if b.Take(key, time.Now()) != cache.Granted {
			continue
		}
		response, err := http.Get(url)
		if err != nil {
			return err
		}
		if err := response.Body.Close(); err != nil {
			return err
		}
		b.Done(key, "none", time.Now())
	}
}

// TestKilledAskers has eight processes ask a server, and kills and restarts them all the while. The server must never
// see more than the terms allow, and must see nearly that in one of a few rounds: a machine that is busy with other
// things is slow to start what was killed.
func TestKilledAskers(t *testing.T) {
	const rounds, nearly = 3, 0.8
	for range rounds {
		if askAndKill(t) > nearly {
			return
		}
	}
	t.Error("the budget was not used")
}

// askAndKill returns the share of what the terms allow that was asked.
func askAndKill(t *testing.T) float64 {
	const processes, lasts = 8, 6 * time.Second
	dir := t.TempDir()
	var mu sync.Mutex
	var times []time.Duration
	begin := time.Now()
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		times = append(times, time.Since(begin))
	}))
	defer server.Close()
	start := func() *exec.Cmd {
		cmd := helperProcess(t, "ask", dir, server.URL)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	running := make([]*exec.Cmd, processes)
	for i := range running {
		running[i] = start()
	}
	kill := func(i int) {
		_ = running[i].Process.Kill()
		_ = running[i].Wait() // it was killed
	}
	kills := 0
	for time.Since(begin) < lasts {
		time.Sleep(50*time.Millisecond + rand.N(200*time.Millisecond))
		i := rand.IntN(processes)
		kill(i)
		running[i] = start()
		kills++
	}
	for i := range running {
		kill(i)
	}
	mu.Lock()
	defer mu.Unlock()
	checkTerms(t, times, helpRate, helpBurst)
	took := times[len(times)-1] - times[0]
	t.Logf("%d requests in %v, %d processes killed", len(times), took, kills)
	return float64(len(times)) / (helpRate * took.Seconds())
}
