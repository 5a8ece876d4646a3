package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"iocpipe/filter/annotate"
	"iocpipe/intel"
	"iocpipe/intel/local"
	"iocpipe/intel/local/format"
)

// storeName is the file's name of the local store in the state folder.
const storeName = "intel.store"

// storeFlags are the flags that say where the local store is.
type storeFlags struct {
	state, store string
}

// add declares the flags of commands that are about the store.
func (f *storeFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.state, "state", "", "`DIR` of the state, as the filter has it")
	f.addStore(flags)
	addConfig(flags)
}

// addStore declares --store alone, for commands that have --state anyway.
func (f *storeFlags) addStore(flags *pflag.FlagSet) {
	flags.StringVar(&f.store, "store", "", "the local store's `FILE`, which answers beside --intel; none is without (default "+storeName+" in the state folder)")
}

// path returns where the store is, or is to be. It is empty for none. --state none does not hide it.
func (f *storeFlags) path() string {
	state := f.state
	switch {
	case f.store == "none":
		return ""
	case f.store != "":
		return f.store
	case state == "none":
		state = ""
	}
	if dir := stateDir(state); dir != "" {
		return filepath.Join(dir, storeName)
	}
	return ""
}

// hasStore reports whether there is a store, or one was asked for.
func (f *storeFlags) hasStore() bool {
	path := f.path()
	if path == "" {
		return false
	}
	_, err := os.Stat(path)
	return err == nil || f.store != ""
}

// settled returns where the store is once the flags of cmd have their values.
func (f *storeFlags) settled(cmd *cobra.Command) (string, error) {
	if _, err := settle(cmd); err != nil {
		return "", err
	}
	path := f.path()
	if path == "" {
		return "", usagef("there is no place for the local store: give --store a file, or --state a folder")
	}
	return path, nil
}

// changeStore changes the store at path by hand, and makes it and its folder when they are missing.
func changeStore(path string, do func(*local.Edits) error) error {
	if err := makeFolder(path); err != nil {
		return err
	}
	return local.Change(path, do)
}

// makeFolder makes the folder of the store at path.
func makeFolder(path string) error { return os.MkdirAll(filepath.Dir(path), 0o700) }

// openStore opens the store at path for a command that reads it.
func openStore(path string) (*local.Store, error) {
	store, err := local.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: there is no local store yet; iocpipe intel add, import or feed begin one", path)
	}
	return store, err
}

// storeCommand is a command about the local store, whose path run gets.
func storeCommand(use, short string, run func(path, state string, args []string) error) *cobra.Command {
	var f storeFlags
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := f.settled(cmd)
			if err != nil {
				return err
			}
			return run(path, f.state, args)
		},
	}
	f.add(cmd.Flags())
	return cmd
}

// editor returns who changes the store by hand.
func editor() string {
	if name := os.Getenv("SUDO_USER"); name != "" {
		return name
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return fmt.Sprintf("uid %d", os.Getuid())
}

// parseSubjects reads values as a plain list spells them: indicators, networks, *.domain and URLs.
func parseSubjects(values []string) ([]intel.Subject, error) {
	var subjects []intel.Subject
	for _, value := range values {
		subject, err := format.ParseSubject(value)
		if err != nil {
			return nil, usagef("%s: %v; give an address, network (from /8 on, IPv6 /16), domain, *.domain, URL, e-mail address or hash", annotate.Safe(value), err)
		}
		subjects = append(subjects, subject)
	}
	return subjects, nil
}

// subjectText is a subject as a plain list spells it, safe for a terminal.
func subjectText(s intel.Subject) string { return annotate.Safe(s.Text()) }

// verdictVotes are the votes that --vote takes.
var verdictVotes = map[string]int8{"malicious": -1, "undecided": 0, "benign": 1}

func parseVote(name string) (int8, error) {
	votes, ok := verdictVotes[name]
	if !ok {
		return 0, usagef("--vote %q: use malicious, undecided or benign", name)
	}
	return votes, nil
}

// parseVerdicts reads a comma-separated list of verdicts.
func parseVerdicts(list string) (set []intel.Verdict, err error) {
	for _, name := range split(list) {
		verdict := intel.NoVerdict
		for v := intel.Benign; v <= intel.Malicious; v++ {
			if v.String() == name {
				verdict = v
			}
		}
		if verdict == intel.NoVerdict {
			return nil, fmt.Errorf("%q is no verdict: use malicious, related, undecided, unknown or benign", name)
		}
		set = append(set, verdict)
	}
	return set, nil
}
