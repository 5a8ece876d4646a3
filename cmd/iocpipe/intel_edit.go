package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"iocpipe/cache/host"
	"iocpipe/intel"
	"iocpipe/intel/local"
)

func newIntelAddCommand(con console) *cobra.Command {
	var expires days
	var note, vote string
	cmd := storeCommand("add VALUE…", "Add values by hand; running processes know them within 5 s", func(path, _ string, values []string) error {
		votes, err := parseVote(vote)
		if err != nil {
			return err
		}
		subjects, err := parseSubjects(values)
		if err != nil {
			return err
		}
		statement := newStatement(votes, note, time.Duration(expires), time.Now())
		if err := changeStore(path, func(e *local.Edits) error {
			for _, subject := range subjects {
				if err := e.Add(intel.Entry{Subject: subject, Statement: statement}); err != nil {
					return fmt.Errorf("%s: %w", subjectText(subject), err)
				}
			}
			return nil
		}); err != nil {
			return err
		}
		for _, subject := range subjects {
			fmt.Fprintf(con.stdout, "added %s · %s%s\n", subjectText(subject), statement.Report.Verdict(), until(statement.Expires))
		}
		return nil
	})
	cmd.Args = someArgs
	cmd.Long = `Add puts values into the host's local store by hand: addresses, networks, domains, *.domain, URLs, e-mail addresses and
hashes, defanged or not. What is added by hand goes before what feeds and other lists say of the same value.`
	cmd.Example = `  iocpipe intel add 203.0.113[.]7 evil.example --expires 30d --note CASE-42
  iocpipe intel add cdn.example --vote benign --note 'false positive, FP-118'`
	cmd.Flags().Var(&expires, "expires", "how long it holds, as 30d or 36h (default: until it is removed)")
	cmd.Flags().StringVar(&note, "note", "", "why, such as a case number")
	cmd.Flags().StringVar(&vote, "vote", "malicious", "malicious, undecided or benign")
	return cmd
}

func newStatement(votes int8, note string, holds time.Duration, now time.Time) *intel.Statement {
	now = now.UTC().Truncate(time.Second)
	s := &intel.Statement{
		Source: local.ByHand, Report: intel.Report{Known: true, Voted: true, Votes: votes},
		By: editor(), Added: now, Note: note,
	}
	if holds > 0 {
		s.Expires = now.Add(holds)
	}
	return s
}

// until says when something ends to hold.
func until(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return " · until " + t.UTC().Format(time.DateTime)
}

func newIntelRemoveCommand(con console) *cobra.Command {
	var note string
	cmd := storeCommand("rm VALUE…", "Take values back, whoever lists them; running processes know within 5 s", func(path, state string, values []string) error {
		subjects, err := parseSubjects(values)
		if err != nil {
			return err
		}
		return removeValues(con, path, state, subjects, note)
	})
	cmd.Args = someArgs
	cmd.Long = `Rm takes values back: what was added by hand is removed, and what feeds and lists say of them is hidden, also after
their next update, until a value is added again. What sources have answered about a value is forgotten, too. A value that
must never be asked about nor annotated, whoever calls it malicious, belongs on the allow list (iocpipe allow add).`
	cmd.Flags().StringVar(&note, "note", "", "why")
	return cmd
}

func removeValues(con console, path, state string, subjects []intel.Subject, note string) error {
	before, err := openStore(path)
	if err != nil {
		return err
	}
	forgotten, unforgotten := forget(state, subjects) // a broken state must not keep a wrong entry in the store
	names := make([][]string, len(subjects))          // of those who list each
	for i, subject := range subjects {
		names[i] = listedBy(before, subject)
	}
	if err := removeListed(path, subjects, names, note); err != nil {
		return err
	}
	unknown := 0
	for i, subject := range subjects {
		switch {
		case len(names[i]) > 0:
			fmt.Fprintf(con.stdout, "removed %s · listed by %s\n", subjectText(subject), strings.Join(names[i], ", "))
		case forgotten[i]:
			fmt.Fprintf(con.stdout, "forgot what sources answered about %s\n", subjectText(subject))
		default:
			unknown++
			fmt.Fprintf(con.stderr, "iocpipe: nothing lists %s\n", subjectText(subject))
		}
	}
	after, err := openStore(path)
	if err != nil {
		return err
	}
	for _, subject := range subjects {
		stillCovered(con, after, subject)
	}
	switch {
	case unforgotten != nil:
		return fmt.Errorf("what sources answered could not be forgotten: %w", unforgotten)
	case unknown > 0:
		return exitError{exitFailed, ""}
	}
	return nil
}

// removeListed removes from the store at path those subjects that somebody lists.
func removeListed(path string, subjects []intel.Subject, names [][]string, note string) error {
	if !slices.ContainsFunc(names, func(by []string) bool { return len(by) > 0 }) {
		return nil
	}
	return changeStore(path, func(e *local.Edits) error {
		for i, subject := range subjects {
			if len(names[i]) == 0 {
				continue
			}
			if err := e.Remove(subject, editor(), note); err != nil {
				return fmt.Errorf("%s: %w", subjectText(subject), err)
			}
		}
		return nil
	})
}

// listedBy returns the names of those who list the subject itself.
func listedBy(store *local.Store, subject intel.Subject) (names []string) {
	for _, e := range store.Listed(subject) {
		if !slices.Contains(names, e.Source) {
			names = append(names, e.Source)
		}
	}
	return names
}

// stillCovered tells of what still speaks about a value that was removed: a network around it, a domain above it.
func stillCovered(con console, store *local.Store, subject intel.Subject) {
	if subject.Net.IsValid() || subject.Below {
		return
	}
	if found := store.Find(subject.Key); found.Verdict > intel.Unknown {
		fmt.Fprintf(con.stderr, "iocpipe: %s is still %s by %s; iocpipe explain %s says why, iocpipe allow add %s overrules it\n",
			subjectText(subject), found.Verdict, found.Source, subjectText(subject), subjectText(subject))
	}
}

// forget removes what sources answered about the subjects from the host's state, if there is one, and says of which
// there was something.
func forget(stateFlag string, subjects []intel.Subject) (forgotten []bool, err error) {
	forgotten = make([]bool, len(subjects))
	sources := sourceFlags{storeFlags: storeFlags{state: stateFlag}}
	_, state, err := sources.existingState()
	if state == nil || err != nil {
		return forgotten, err
	}
	defer func() { err = errors.Join(err, state.Close()) }()
	for i, subject := range subjects {
		if forgotten[i], err = forgetOne(state, subject); err != nil {
			return forgotten, err
		}
	}
	return forgotten, nil
}

func forgetOne(state *host.State, subject intel.Subject) (bool, error) {
	if subject.Net.IsValid() || subject.Below {
		return false, nil
	}
	if _, ok := state.Get(subject.Key); !ok {
		return false, nil
	}
	return true, state.Remove(subject.Key)
}
