package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"iocpipe/intel"
	"iocpipe/intel/local"
	"iocpipe/intel/local/feed"
	"iocpipe/intel/local/format"
)

// feedFormats reads feeds as imports are read.
func feedFormats() feed.Formats {
	return feed.Formats{Files: format.Files, Open: format.Open, Read: readFeed}
}

func readFeed(r io.Reader, f *feed.Feed, kind string, take func(intel.Entry) error, refuse func(feed.Refusal)) (string, error) {
	opt := format.Options{Source: f.Name, Kind: format.Kind(kind), Votes: f.Votes, Now: time.Now()}
	read, err := format.Read(r, opt, take, func(x format.Refused) {
		refuse(feed.Refusal{Where: x.Where, Why: strings.TrimPrefix(x.String(), x.Where+": "), Fault: x.Fault()})
	})
	return string(read), err
}

// feedStore is the store at path, which takes the content of all feeds in one step.
func feedStore(path string) feed.Store {
	return func(_ context.Context, contents []feed.Content) error {
		var imports []*local.Import
		for _, c := range contents {
			imports = append(imports, &local.Import{
				Source: local.Source{
					Name: c.Feed.Name, Kind: c.Format, From: c.Feed.From, Updated: c.Feed.Good, Refused: c.Feed.Refused, Samples: c.Samples,
				},
				Read: c.Read,
			})
		}
		_, err := local.Replace(path, imports...)
		return err
	}
}

// heldSources returns whether the store at path has the content of a feed. A store that cannot be opened has none.
func heldSources(path string) func(name string) bool {
	store, err := local.Open(path)
	if err != nil { // when it is damaged, replacing says so
		return func(string) bool { return false }
	}
	sources := store.Sources()
	return func(name string) bool {
		return slices.ContainsFunc(sources, func(s local.Source) bool { return s.Name == name })
	}
}

// removeSources removes what feeds said from the store at path.
func removeSources(path string, names []string) error {
	held := heldSources(path)
	for _, name := range names {
		if !held(name) { // a feed that never came
			continue
		}
		if err := local.Remove(path, name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
