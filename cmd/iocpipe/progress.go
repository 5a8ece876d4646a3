package main

import (
	"errors"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
)

// A progress shows on a terminal how much has been read of all feeds or files together.
type progress struct {
	mu   sync.Mutex
	bar  *progressbar.ProgressBar // nil where there is no terminal
	done map[string]int64         // by feed or file
}

// newProgress returns a progress that says what is being done, if con has a terminal.
func newProgress(con console, doing string) *progress {
	b := &progress{done: make(map[string]int64)}
	if isTerminal(con.stderr) && os.Getenv("TERM") != "dumb" {
		b.bar = progressbar.NewOptions64(-1, progressbar.OptionSetWriter(con.stderr), progressbar.OptionShowBytes(true),
			progressbar.OptionSetDescription(doing), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
	}
	return b
}

func (b *progress) add(name string, done, _ int64) {
	if b.bar == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	more := done - b.done[name]
	if more < 0 { // a next page, or file
		more = done
	}
	b.done[name] = done
	_ = b.bar.Add64(more) // what a terminal does not show is no loss
}

func (b *progress) finish() {
	if b.bar != nil {
		_ = errors.Join(b.bar.Finish(), b.bar.Exit())
	}
}
