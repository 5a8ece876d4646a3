package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"iocpipe/sinks/elastic"
)

// replayFlags are the flags of replay.
type replayFlags struct {
	server elasticFlags
	failed string
}

func newReplayCommand(con console) *cobra.Command {
	var f replayFlags
	cmd := &cobra.Command{
		Use:   "replay FILE",
		Short: "Send a dead-letter file again",
		Long: `replay sends every document of a dead-letter file again, byte for byte, to the index that it was for. What is refused
again goes to another file (--dead-letter); FILE stays as it is. To replay it twice adds nothing twice.

` + exitCodes,
		Example: `  iocpipe replay --es-url https://localhost:9200 --es-api-key-file key dead-letter.ndjson`,
		Args:    exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := settle(cmd); err != nil {
				return err
			}
			return f.run(contextOf(cmd), con, args[0])
		},
	}
	f.server.add(cmd.Flags())
	cmd.Flags().StringVar(&f.failed, "dead-letter", "", "`FILE` for what is refused again (default: FILE.again)")
	addConfig(cmd.Flags())
	return cmd
}

func (f *replayFlags) run(ctx context.Context, con console, path string) error {
	again := f.failed
	if again == "" || same(again, path) {
		again = path + ".again" // what is read does not grow
	}
	in, err := os.Open(path)
	if err != nil {
		return usagef("replay: %v", err)
	}
	defer func() { _ = in.Close() }() // it was only read
	letters := elastic.NewDeadLetters(again)
	if err := letters.Check(); err != nil {
		return usagef("--dead-letter: %v", err)
	}
	client, err := f.server.client()
	if err != nil {
		return err
	}
	stream := newStream(con, inputFlags{})
	ctx, restore := stream.signals(ctx)
	defer restore()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r := &replay{elasticOutput: elasticOutput{client: client, letters: letters, stream: stream, ctx: ctx, stop: cancel}, path: path}
	r.bulk = client.NewBulk(elastic.BulkOptions{
		MaxBytes: f.server.bulkBytes, MaxItems: f.server.bulkItems, GiveUp: f.server.giveUp, DeadLetters: letters.Add,
		Waiting: r.waits, Refused: r.refused,
	})
	began := time.Now()
	err = elastic.ReadLetters(in, r.send, r.broken)
	err = errors.Join(err, r.Close())
	fmt.Fprintf(con.stdout, "%s documents: %s indexed, %s there already, %s refused again, %s lines without a document · %.2f s\n",
		thousands(r.counts.Added), thousands(r.counts.Indexed), thousands(r.counts.Duplicates), thousands(r.counts.DeadLetters),
		thousands(r.unreadable), time.Since(began).Seconds())
	switch {
	case err != nil:
		return fmt.Errorf("replay %s: %w", path, err)
	case r.counts.DeadLetters > 0:
		return exitError{exitFailed, fmt.Sprintf("replay %s: what was refused again is in %s", path, again)}
	}
	return stream.end(nil)
}

// same reports whether two paths are those of one file.
func same(x, y string) bool {
	a, errA := os.Stat(x)
	b, errB := os.Stat(y)
	return errA == nil && errB == nil && os.SameFile(a, b) || filepath.Clean(x) == filepath.Clean(y)
}

// A replay sends letters.
type replay struct {
	elasticOutput
	path       string
	unreadable int64
}

func (r *replay) send(pair []byte) error {
	_, err := r.Write(pair)
	return err
}

func (r *replay) broken(number int, _ []byte, err error) error {
	r.unreadable++
	r.stream.complain(fmt.Errorf("%s:%d: %w", r.path, number, err))
	return nil
}
