package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"iocpipe/filter"
	"iocpipe/filter/source"
)

// followFlags are the flags of files that are read on as they grow.
type followFlags struct {
	follow, old bool
}

func (f *followFlags) add(flags *pflag.FlagSet) {
	flags.BoolVar(&f.follow, "follow", false, "go on reading FILEs (or patterns, as 'log/*.log') as they grow, across rotation; with a state, the next run goes on where this one stopped")
	flags.BoolVar(&f.old, "follow-old", false, "read what rotation has left of a FILE first (access.log.2.gz, access.log.1), when it is followed for the first time")
}

func (f *followFlags) validate(files []string) error {
	switch {
	case f.old && !f.follow:
		return usagef("--follow-old: only with --follow")
	case f.follow && len(files) == 0:
		return usagef("--follow: name the FILEs to follow")
	}
	return nil
}

// A following is the input of --follow, and how far it was handled.
type following struct {
	*source.Follow
	registry *source.Registry
	stream   *stream

	unkept, unnoted bool // positions, and steps towards them, cannot be written
}

// open begins to follow files for the output of a name, and of a path if it is a file; dir is the state's folder, empty for none.
func (f *followFlags) open(files []string, dir, name, path string, out destination, s *stream) (*following, error) {
	registry, err := openRegistry(files, dir, name, path, s)
	if err != nil {
		return nil, fmt.Errorf("--follow: %w", err)
	}
	told := func(format string, args ...any) { fmt.Fprintf(s.con.stderr, "iocpipe: "+format+"\n", args...) }
	follow, err := source.NewFollow(files, source.FollowOptions{Registry: registry, Old: f.old, Written: out.info, Told: told})
	if err != nil {
		return nil, usagef("--follow: %v", err)
	}
	if k, ok := registry.Doubt(); ok {
		told("%s: the last run was ended while it wrote, or %s was moved since: lines of %s from line %d on may be there twice, 256 KiB of them at most", path, path, k.Path, k.Line)
	}
	return &following{Follow: follow, registry: registry, stream: s}, nil
}

// openRegistry opens what is kept of how far these files were read for this output. Without a folder to keep it in,
// that is in memory alone; a second process that follows them is an error.
func openRegistry(files []string, dir, output, path string, s *stream) (*source.Registry, error) {
	if dir == "" {
		return source.OpenRegistry("", "")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		s.complain(fmt.Errorf("--follow: %w; the next run will begin anew", err))
		return source.OpenRegistry("", "")
	}
	hash := sha256.New()
	for _, file := range files {
		path, err := filepath.Abs(file)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(hash, "%s\x00", path)
	}
	fmt.Fprintf(hash, "%s", output)
	return source.OpenRegistry(filepath.Join(dir, "follow-"+hex.EncodeToString(hash.Sum(nil)[:8])+".json"), path)
}

// reaching notes that everything in front of at is safe when lines are written to a file.
func (f *following) reaching(at filter.Position, output *os.File, lines []byte) {
	mark, err := source.MarkOf(output, lines)
	if err == nil {
		err = f.registry.Reaching(at.ID, at.Offset, at.Line, mark)
	}
	f.tell("the journal of --follow", &f.unnoted, err)
}

// Reached notes that everything in front of at is safe.
func (f *following) Reached(at filter.Position) {
	f.tell("--follow", &f.unkept, f.registry.Reached(at.ID, at.Offset, at.Line))
}

// tell says when something begins to fail, or is mended.
func (f *following) tell(about string, failing *bool, err error) {
	if *failing == (err != nil) {
		return
	}
	*failing = err != nil
	if err != nil {
		err = fmt.Errorf("%s: %w; what is read now will be read again by the next run", about, err)
	}
	f.stream.change(about, err)
}

// stopWith ends the following when ctx is done.
func (f *following) stopWith(ctx context.Context) { context.AfterFunc(ctx, f.Stop) }

// close keeps how far everything was handled.
func (f *following) close() error {
	if err := f.registry.Close(); err != nil {
		return fmt.Errorf("--follow: %w", err)
	}
	return nil
}
