package export

import (
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"

	"iocpipe/intel"
	"iocpipe/sharedfile"
)

// File writes entries to the file path, or to several in the folder path when the format has several (splunk-intel: a
// file per collection; misp: a feed); such a folder is made when path ends with a slash. All are written beside and
// renamed when all are whole, so that a reader never sees half a file, and an export that fails or is interrupted leaves
// the old one. A file keeps its mode and, where that is allowed, its owner: an export by root over a list of another
// program stays that program's. What is no regular file, such as a pipe, is written to as it is.
func File(path string, format Format, entries iter.Seq2[intel.Entry, error], opt Options) (Result, error) {
	k, ok := kinds[format]
	if !ok {
		return Result{}, fmt.Errorf("unknown format %q", string(format))
	}
	if k.files != nil && os.IsPathSeparator(path[max(0, len(path)-1)]) {
		if err := os.MkdirAll(path, 0o777); err != nil { // less the umask
			return Result{}, err
		}
	}
	files := []file{{path, nil}}
	switch info, err := os.Stat(path); {
	case err == nil && info.IsDir():
		if k.files == nil {
			return Result{}, fmt.Errorf("%s is a folder: %s is one file, name it", path, format)
		}
		files = k.files(opt)
		for i := range files {
			files[i].name = filepath.Join(path, files[i].name)
		}
	case err == nil && !info.Mode().IsRegular():
		return toDevice(path, format, entries, opt)
	default:
		files[0].encoder = k.encoder(opt)
	}
	return replace(files, k, entries, opt)
}

func toDevice(path string, format Format, entries iter.Seq2[intel.Entry, error], opt Options) (Result, error) {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return Result{}, err
	}
	result, err := Write(f, format, entries, opt)
	return result, errors.Join(err, f.Close())
}

// replace writes all files beside their names, and renames them when all are whole.
func replace(files []file, k kind, entries iter.Seq2[intel.Entry, error], opt Options) (result Result, err error) {
	drafts := make([]*sharedfile.Draft, 0, len(files))
	defer func() {
		for _, d := range drafts {
			d.Discard()
		}
	}()
	targets := make([]*target, 0, len(files))
	for _, f := range files {
		d, err := sharedfile.Create(f.name, 0o666) // others read exports
		if err != nil {
			return Result{}, err
		}
		drafts = append(drafts, d)
		targets = append(targets, &target{encoder: f.encoder, w: d})
	}
	if result, err = run(k, opt, entries, targets); err != nil {
		return result, err
	}
	for _, d := range drafts {
		if err := d.Finish(); err != nil {
			return result, err
		}
	}
	for _, d := range drafts {
		if err := d.Publish(); err != nil {
			return result, err
		}
	}
	return result, nil
}
