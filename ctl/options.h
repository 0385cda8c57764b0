/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Commands as data. A verb is one struct verb: its operands, its options and its function. The
 * parser, the help, the man page section and the shell completion all read these tables; no verb
 * parses or describes anything itself.
 *
 * Included by: everything in ctl/.
 * Ownership:   tables are constant; parsed strings point into argv.
 */
#ifndef CTL_OPTIONS_H
#define CTL_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/ipsecbpf.h"

enum { EXIT_DONE = 0, EXIT_REFUSED = 1, EXIT_USAGE = 2 };

/* What an option stores at `offset` of the verb's arguments. */
enum option_type {
	OPT_FLAG,	/* bool */
	OPT_STRING,	/* const char *, NULL: not given */
	OPT_FILE,	/* the same */
	OPT_UINT,	/* uint32_t, 0: not given, so min is at least 1 */
	OPT_WORD,	/* unsigned int: 1 + the index of the word, 0: not given */
	OPT_MARK,	/* struct mark_arg, mask 0: not given */
	OPT_LIST,	/* struct list_arg: may be given again and again */
};

struct mark_arg {
	uint32_t value, mask;
};

#define LIST_ARG_MAX 256
struct list_arg {
	const char *items[LIST_ARG_MAX];
	size_t count;
};

struct option_def {
	const char *name;		/* long name without dashes; NULL ends a table */
	char letter;			/* short name, or 0 */
	enum option_type type;
	const char *metavar;		/* NULL only with OPT_FLAG */
	const char *help;
	size_t offset;
	uint32_t min, max;		/* OPT_UINT, both included */
	const char *(*word_at)(size_t index);	/* OPT_WORD: the words; NULL past the last */
	bool required;
	bool hidden;			/* for the build, not for people */
};

enum operand_type {
	OPERAND_IFNAME, OPERAND_FILE, OPERAND_VERB, OPERAND_DIRECTION, OPERAND_WORD,
	OPERAND_COMMAND		/* all behind "--": char **, ended by NULL; the last operand */
};

struct operand_def {
	const char *name;		/* NULL ends a table */
	enum operand_type type;
	size_t offset;			/* const char *, but of OPERAND_COMMAND */
	bool optional;
};

#define OPTION_END { .name = NULL }
#define OPERAND_END { .name = NULL }

struct verb {
	const char *group;		/* "sa" of "sa list", or NULL */
	const char *name;
	const char *summary;		/* one line, no full stop */
	const char *details;		/* sentences for --help and the man page, or NULL */
	const struct operand_def *operands;	/* never NULL */
	const struct option_def *options;	/* never NULL */
	size_t args_size;
	int usage_status;		/* when its command line is wrong; 0: EXIT_USAGE */
	/* `args` as parsed, zeroed where nothing was given. Returns an exit code; what went wrong
	 * is in `report`, which the caller shows. */
	int (*run)(const void *args, struct ipsecbpf_report *report);
};

/* All verbs in the order of the help; NULL ends the list. */
extern const struct verb *const verbs[];
extern const struct option_def global_options[];	/* stored in struct global_args */
extern const struct option_def no_options[];
extern const struct operand_def no_operands[];
extern const struct operand_def ifname_operand[];	/* for struct ifname_args */

struct global_args {
	bool json, help, version;
};

struct ifname_args {
	const char *ifname;
};

struct command {
	const struct verb *verb;	/* NULL: none was named, or only a group was */
	const char *group;		/* the group named without a verb of it */
	struct global_args globals;
	void *args;			/* free() it */
};

/* True if the arguments ask for JSON: known before they are parsed, so that errors obey it. */
bool options_want_json(int argc, char **argv);

/*
 * Parses a whole command line. 0, or -EINVAL with the cause in report. ret_command is written in
 * both cases (so that --help is obeyed next to an error), and its args are to be freed.
 */
int options_parse(int argc, char **argv, struct command *ret_command,
		  struct ipsecbpf_report *report);

/* A verb by group (or NULL) and name; NULL if there is none. */
const struct verb *verb_find(const char *group, const char *name);
bool verb_group_exists(const char *group);
/* "ipsecbpf sa list IFNAME [OPTIONS]"; "ipsecbpf sa list" without operands. */
const char *verb_usage(const struct verb *verb, char *out, size_t out_len);
const char *verb_name(const struct verb *verb, char *out, size_t out_len);
/* "-o, --output FILE" */
const char *option_usage(const struct option_def *option, char *out, size_t out_len);

/* A whole unsigned number, decimal or 0x hexadecimal, nothing before or after it. */
bool parse_uint(const char *text, size_t len, uint64_t max, uint64_t *ret_value);

/* The exit code for a library call's result; makes sure that a failure has a message. */
int exit_code(int err, const char *object, struct ipsecbpf_report *report);

#endif /* CTL_OPTIONS_H */
