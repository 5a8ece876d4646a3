package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"iocpipe/cache"
	"iocpipe/cache/host"
	"iocpipe/lookup"
)

const (
	// loadFor is how long a run waits at most for the answers that are kept.
	loadFor = time.Second

	// queueEvery is how often a process tells others what waits in it, queueLines how much of it. A queue that is
	// older than queueOld belongs to a process that has died.
	queueEvery, queueLines, queueOld = 5 * time.Second, lookup.DefaultMaxWaiting, 30 * time.Second
)

// stateDir returns the folder of the host's state: what --state says, or the usual places. It is empty for none.
func stateDir(flag string) string {
	switch {
	case flag == "none":
		return ""
	case flag != "":
		return flag
	case os.Getenv("STATE_DIRECTORY") != "":
		dir, _, _ := strings.Cut(os.Getenv("STATE_DIRECTORY"), ":") // systemd may name several
		return dir
	}
	const system = "/var/lib/iocpipe"
	if probe, err := os.CreateTemp(system, ".usable"); err == nil {
		_ = probe.Close()
		_ = os.Remove(probe.Name())
		return system
	}
	if base := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(base) {
		return filepath.Join(base, "iocpipe")
	}
	if home := os.Getenv("HOME"); home != "" {
		return filepath.Join(home, ".local", "state", "iocpipe")
	}
	return ""
}

var errNoState = usagef("there is no state: give --state the folder that the filter uses")

// needState opens the host's state for a command that is about it.
func (f *sourceFlags) needState() (*host.State, error) {
	dir := stateDir(f.state)
	if dir == "" {
		return nil, errNoState
	}
	return host.Open(dir, host.Options{})
}

// existingState opens the host's state if it is there, for a command that only reads. dir is empty when there is
// no folder for it.
func (f *sourceFlags) existingState() (dir string, state *host.State, err error) {
	dir = stateDir(f.state)
	if _, err := os.Stat(filepath.Join(dir, host.FileName)); dir == "" || err != nil {
		return dir, nil, nil
	}
	state, err = host.Open(dir, host.Options{})
	return dir, state, err
}

// theState is what complaints of the state are about.
const theState = "state"

// openState opens the host's state, if there is to be one. Without it, answers and budgets are kept in memory alone.
func (f *sourceFlags) openState(stream *stream) *host.State {
	dir := stateDir(f.state)
	if dir == "" {
		if f.state != "none" {
			stream.complain(errors.New("no folder for the state (no HOME): answers and budget are kept in memory alone; --state none says that this is meant"))
		}
		return nil
	}
	state, err := host.Open(dir, host.Options{Lease: 2 * f.longest, OnTrouble: func(err error) {
		if err != nil {
			err = fmt.Errorf("state: %w", err)
		}
		stream.change(theState, err)
	}})
	if err != nil {
		f.unusable = dir
		stream.complain(fmt.Errorf("state: %w; answers and budget are kept in memory alone, and one process at a time asks", err))
		return nil
	}
	return state
}

// keepFresh fills the memory from the state and keeps it up to date until ctx is done. It returns when what is kept is
// there, or after a while.
func keepFresh(ctx context.Context, memory *cache.Memory, warn func(error)) {
	go func() {
		if err := memory.Run(ctx); err != nil {
			warn(fmt.Errorf("state: %w", err))
		}
	}()
	select {
	case <-memory.Loaded():
	case <-time.After(loadFor):
	}
}

func queuePath(dir string) string { return filepath.Join(dir, queueName(strconv.Itoa(os.Getpid()))) }

func queueName(pid string) string { return "waiting-" + pid + ".json.gz" }

// tellQueue writes what waits in s to a file of the state, for explain, until ctx is done.
func tellQueue(ctx context.Context, dir string, s *lookup.Scheduler) {
	sweepQueues(dir)
	path := queuePath(dir)
	defer func() { _ = os.Remove(path) }() // it would be old soon
	tick := time.NewTicker(queueEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		// Not by sharedfile, which waits for the disk: nothing of this has to outlive a crash of the system.
		if writeQueue(path+".new", s.Snapshot(queueLines)) != nil || os.Rename(path+".new", path) != nil {
			_ = os.Remove(path + ".new") // explain does without it
		}
	}
}

// writeQueue packs what waits: a full table takes a megabyte, of which nine tenths repeat.
func writeQueue(path string, queue lookup.Snapshot) error {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if err := errors.Join(json.NewEncoder(z).Encode(queue), z.Close()); err != nil {
		return err
	}
	return os.WriteFile(path, packed.Bytes(), 0o600)
}

// sweepQueues removes what processes left that were killed.
func sweepQueues(dir string) {
	paths, _ := filepath.Glob(filepath.Join(dir, queueName("*")+"*"))
	for _, path := range paths {
		if isOld(path) {
			_ = os.Remove(path) // somebody else may have
		}
	}
}

// isOld reports whether nobody has written the file at path for a while.
func isOld(path string) bool {
	info, err := os.Stat(path)
	return err == nil && time.Since(info.ModTime()) > queueOld
}

// readQueues returns what waits in the running processes that share dir.
func readQueues(dir string) (queues []lookup.Snapshot) {
	paths, _ := filepath.Glob(filepath.Join(dir, queueName("*")))
	for _, path := range paths {
		if isOld(path) {
			continue
		}
		if queue, err := readQueue(path); err == nil { // else its process has just ended
			queues = append(queues, queue)
		}
	}
	return queues
}

func readQueue(path string) (queue lookup.Snapshot, err error) {
	file, err := os.Open(path)
	if err != nil {
		return queue, err
	}
	defer file.Close()
	z, err := gzip.NewReader(file)
	if err != nil {
		return queue, err
	}
	return queue, json.NewDecoder(z).Decode(&queue)
}
