// SPDX-License-Identifier: BSD-2-Clause
#include "options.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/suggest.h"

const struct option_def global_options[] = {
	{ "json", 'j', OPT_FLAG, NULL, "print one JSON object instead of text",
	  offsetof(struct global_args, json) },
	{ "help", 'h', OPT_FLAG, NULL, "explain the command", offsetof(struct global_args, help) },
	{ "version", 'V', OPT_FLAG, NULL, "print the version",
	  offsetof(struct global_args, version) },
	OPTION_END,
};

const struct option_def no_options[] = { OPTION_END };
const struct operand_def no_operands[] = { OPERAND_END };
const struct operand_def ifname_operand[] = {
	{ "IFNAME", OPERAND_IFNAME, offsetof(struct ifname_args, ifname) },
	OPERAND_END,
};

/* The state of one parse. */
struct parser {
	char **argv;
	int argc;
	int next;			/* index of the next argument */
	struct command *command;
	size_t operands;
	uint64_t given;			/* bit per option of the verb */
	bool options_ended;		/* "--" was seen */
	char who[64];			/* the command's name, for messages */
	struct ipsecbpf_report *report;
};

/* ---- names --------------------------------------------------------------------------------- */

const struct verb *verb_find(const char *group, const char *name)
{
	for (const struct verb *const *verb = verbs; *verb; verb++) {
		bool same_group = group && (*verb)->group ? !strcmp(group, (*verb)->group) :
							    !group && !(*verb)->group;

		if (same_group && !strcmp(name, (*verb)->name))
			return *verb;
	}
	return NULL;
}

bool verb_group_exists(const char *group)
{
	for (const struct verb *const *verb = verbs; *verb; verb++)
		if ((*verb)->group && !strcmp((*verb)->group, group))
			return true;
	return false;
}

const char *verb_name(const struct verb *verb, char *out, size_t out_len)
{
	snprintf(out, out_len, "ipsecbpf %s%s%s", verb->group ? verb->group : "",
		 verb->group ? " " : "", verb->name);
	return out;
}

const char *verb_usage(const struct verb *verb, char *out, size_t out_len)
{
	const char *command = NULL;
	size_t used;

	verb_name(verb, out, out_len);
	for (const struct operand_def *operand = verb->operands; operand->name; operand++) {
		used = strlen(out);
		if (operand->type == OPERAND_COMMAND)
			command = operand->name;
		else
			snprintf(out + used, out_len - used, operand->optional ? " [%s]" : " %s",
				 operand->name);
	}
	for (const struct option_def *option = verb->options; option->name; option++) {
		used = strlen(out);
		if (option->required)
			snprintf(out + used, out_len - used, " --%s%s%s", option->name,
				 option->metavar ? " " : "", option->metavar ? option->metavar : "");
	}
	used = strlen(out);
	if (verb->options->name)
		snprintf(out + used, out_len - used, " [OPTIONS]");
	used = strlen(out);
	if (command)
		snprintf(out + used, out_len - used, " %s", command);
	return out;
}

const char *option_usage(const struct option_def *option, char *out, size_t out_len)
{
	char letter[8] = "";

	if (option->letter)
		snprintf(letter, sizeof(letter), "-%c, ", option->letter);
	snprintf(out, out_len, "%s--%s%s%s", letter, option->name, option->metavar ? " " : "",
		 option->metavar ? option->metavar : "");
	return out;
}

/* ---- values -------------------------------------------------------------------------------- */

bool parse_uint(const char *text, size_t len, uint64_t max, uint64_t *ret_value)
{
	unsigned int base = 10;
	uint64_t value = 0;

	if (len > 2 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
		base = 16;
		text += 2;
		len -= 2;
	}
	if (!len)
		return false;
	for (size_t i = 0; i < len; i++) {
		static const char digits[] = "0123456789abcdef";
		int lower = tolower((unsigned char)text[i]);
		const char *digit = memchr(digits, lower, base);
		uint64_t add;

		if (!digit)
			return false;
		add = (uint64_t)(digit - digits);
		if (value > (UINT64_MAX - add) / base)
			return false;
		value = value * base + add;
	}
	if (value > max)
		return false;
	*ret_value = value;
	return true;
}

static void *field(const struct parser *parser, const struct option_def *option, bool global)
{
	char *base = global ? (char *)&parser->command->globals : parser->command->args;

	return base + option->offset;
}

static int bad_value(struct parser *parser, const struct option_def *option, const char *value,
		     const char *wanted)
{
	char next[160];
	int len = snprintf(next, sizeof(next), "give --%s %s", option->name, wanted);

	/* A list that long is not repeated. */
	report_error(parser->report, parser->who, (size_t)len < sizeof(next) ? next : NULL,
		     "--%s: \"%s\" is not %s", option->name, value, wanted);
	return -EINVAL;
}

static int store_uint(struct parser *parser, const struct option_def *option, const char *value,
		      uint32_t *ret_field)
{
	uint64_t number;
	char wanted[64];

	snprintf(wanted, sizeof(wanted), "a number from %u to %u", option->min, option->max);
	if (!parse_uint(value, strlen(value), option->max, &number) || number < option->min)
		return bad_value(parser, option, value, wanted);
	*ret_field = (uint32_t)number;
	return 0;
}

static int store_word(struct parser *parser, const struct option_def *option, const char *value,
		      unsigned int *ret_field)
{
	char wanted[2048] = "one of";	/* there are some 70 suites */

	for (unsigned int i = 0; option->word_at(i); i++) {
		size_t used = strlen(wanted);

		if (!strcmp(option->word_at(i), value)) {
			*ret_field = i + 1;
			return 0;
		}
		snprintf(wanted + used, sizeof(wanted) - used, "%s %s", i ? "," : "",
			 option->word_at(i));
	}
	return bad_value(parser, option, value, wanted);
}

static int store_mark(struct parser *parser, const struct option_def *option, const char *value,
		      struct mark_arg *ret_field)
{
	const char *slash = strchr(value, '/');
	uint64_t mark, mask;

	if (!slash || !parse_uint(value, (size_t)(slash - value), UINT32_MAX, &mark) ||
	    !parse_uint(slash + 1, strlen(slash + 1), UINT32_MAX, &mask) || !mask || !mark ||
	    (mark & ~mask))
		return bad_value(
			parser, option, value,
			"VALUE/MASK, two 32-bit numbers, with VALUE not 0 and within MASK");
	*ret_field = (struct mark_arg){ .value = (uint32_t)mark, .mask = (uint32_t)mask };
	return 0;
}

static int store_list(struct parser *parser, const struct option_def *option, const char *value,
		      struct list_arg *list)
{
	if (list->count == LIST_ARG_MAX) {
		report_error(parser->report, parser->who, NULL, "--%s is given more than %d times",
			     option->name, LIST_ARG_MAX);
		return -EINVAL;
	}
	list->items[list->count++] = value;
	return 0;
}

static int store(struct parser *parser, const struct option_def *option, bool global,
		 const char *value)
{
	void *target = field(parser, option, global);

	switch (option->type) {
	case OPT_FLAG:
		*(bool *)target = true;
		return 0;
	case OPT_STRING:
	case OPT_FILE:
		if (!*value)
			return bad_value(parser, option, value, "a word of at least one letter");
		*(const char **)target = value;
		return 0;
	case OPT_UINT:
		return store_uint(parser, option, value, target);
	case OPT_WORD:
		return store_word(parser, option, value, target);
	case OPT_MARK:
		return store_mark(parser, option, value, target);
	case OPT_LIST:
		return store_list(parser, option, value, target);
	}
	return -EINVAL;
}

/* ---- options ------------------------------------------------------------------------------- */

static const struct option_def *find_in(const struct option_def *options, const char *name,
					size_t name_len, char letter)
{
	for (; options->name; options++) {
		if (letter ? options->letter == letter :
			     strlen(options->name) == name_len &&
				     !memcmp(options->name, name, name_len))
			return options;
	}
	return NULL;
}

/* By long name, or by letter if that is not 0. */
static const struct option_def *find_option(const struct parser *parser, const char *name,
					    size_t name_len, char letter, bool *ret_global)
{
	const struct option_def *option = find_in(global_options, name, name_len, letter);

	*ret_global = option != NULL;
	if (!option && parser->command->verb)
		option = find_in(parser->command->verb->options, name, name_len, letter);
	return option;
}

static int unknown_option(struct parser *parser, const char *argument, const char *name)
{
	struct suggest near = { .word = name };
	char next[128];

	for (const struct option_def *option = global_options; option->name; option++)
		suggest_offer(&near, option->name);
	if (parser->command->verb) {
		const struct option_def *option = parser->command->verb->options;

		for (; option->name; option++)
			if (!option->hidden)
				suggest_offer(&near, option->name);
	}
	if (near.best)
		snprintf(next, sizeof(next), "did you mean --%s?", near.best);
	else
		snprintf(next, sizeof(next), "%s --help", parser->who);
	report_error(parser->report, parser->who, next, "unknown option %s", argument);
	return -EINVAL;
}

/* Notes that an option of the verb was given: once is enough. */
static int note_given(struct parser *parser, const struct option_def *option, bool global)
{
	uint64_t bit;

	if (global || option->type == OPT_LIST)
		return 0;
	bit = UINT64_C(1) << (option - parser->command->verb->options);
	if (parser->given & bit) {
		report_error(parser->report, parser->who, NULL, "--%s is given twice",
			     option->name);
		return -EINVAL;
	}
	parser->given |= bit;
	return 0;
}

/* `attached` is the value written behind the option, or NULL: then it is the next argument. */
static int take_option(struct parser *parser, const struct option_def *option, bool global,
		       const char *attached)
{
	const char *value = attached;
	int err = note_given(parser, option, global);

	if (err)
		return err;
	if (option->type == OPT_FLAG) {
		if (!attached)
			return store(parser, option, global, NULL);
		report_error(parser->report, parser->who, NULL, "--%s takes no value",
			     option->name);
		return -EINVAL;
	}
	if (!value && parser->next < parser->argc) {
		value = parser->argv[parser->next];
		/* "-" is standard input or output; anything else with a dash is an option. */
		if (value[0] == '-' && value[1])
			value = NULL;
		else
			parser->next++;
	}
	if (!value) {
		report_error(parser->report, parser->who, NULL, "--%s needs a value: --%s %s",
			     option->name, option->name, option->metavar);
		return -EINVAL;
	}
	return store(parser, option, global, value);
}

static int take_long(struct parser *parser, const char *argument)
{
	const char *name = argument + 2;
	const char *equals = strchr(name, '=');
	size_t name_len = equals ? (size_t)(equals - name) : strlen(name);
	bool global;
	const struct option_def *option = find_option(parser, name, name_len, 0, &global);

	if (!option)
		return unknown_option(parser, argument, name);
	return take_option(parser, option, global, equals ? equals + 1 : NULL);
}

/* "-j", "-jo FILE", "-oFILE". */
static int take_letters(struct parser *parser, const char *argument)
{
	for (const char *letter = argument + 1; *letter; letter++) {
		bool global, last;
		const struct option_def *option = find_option(parser, NULL, 0, *letter, &global);
		int err;

		if (!option)
			return unknown_option(parser, argument, "");
		last = option->type != OPT_FLAG;
		err = take_option(parser, option, global, last && letter[1] ? letter + 1 : NULL);
		if (err || last)
			return err;
	}
	return 0;
}

/* ---- words --------------------------------------------------------------------------------- */

static int unknown_word(struct parser *parser, const char *word)
{
	const char *group = parser->command->group;
	struct suggest near = { .word = word };
	char next[128];

	for (const struct verb *const *verb = verbs; *verb; verb++) {
		if (!group)
			suggest_offer(&near, (*verb)->group ? (*verb)->group : (*verb)->name);
		else if ((*verb)->group && !strcmp((*verb)->group, group))
			suggest_offer(&near, (*verb)->name);
	}
	if (near.best)
		snprintf(next, sizeof(next), "did you mean \"%s %s\"?", parser->who, near.best);
	else
		snprintf(next, sizeof(next), "ipsecbpf help%s%s", group ? " " : "",
			 group ? group : "");
	report_error(parser->report, parser->who, next, "unknown command \"%s\"", word);
	return -EINVAL;
}

static int take_verb(struct parser *parser, const char *word)
{
	struct command *command = parser->command;

	command->verb = verb_find(command->group, word);
	if (command->verb) {
		verb_name(command->verb, parser->who, sizeof(parser->who));
		command->args = calloc(1, command->verb->args_size ? command->verb->args_size : 1);
		if (command->args)
			return 0;
		report_error(parser->report, parser->who, NULL, "out of memory");
		return -ENOMEM;
	}
	if (command->group || !verb_group_exists(word))
		return unknown_word(parser, word);
	command->group = word;
	snprintf(parser->who, sizeof(parser->who), "ipsecbpf %s", word);
	return 0;
}

static int take_operand(struct parser *parser, const char *word)
{
	const struct operand_def *operand = parser->command->verb->operands;

	for (size_t i = 0; i < parser->operands && operand->name; i++)
		operand++;
	if (operand->type == OPERAND_COMMAND && operand->name) {
		report_error(parser->report, parser->who, "put -- before the command",
			     "\"%s\" is one argument too many", word);
		return -EINVAL;
	}
	if (!operand->name) {
		report_error(parser->report, parser->who, NULL, "\"%s\" is one argument too many",
			     word);
		return -EINVAL;
	}
	if (!*word) {
		report_error(parser->report, parser->who, NULL, "%s is empty", operand->name);
		return -EINVAL;
	}
	parser->operands++;
	*(const char **)((char *)parser->command->args + operand->offset) = word;
	return 0;
}

/* All that is left is a command of its own, if the verb runs one. */
static bool take_command(struct parser *parser)
{
	const struct operand_def *operand = parser->command->verb->operands;

	while (operand->name && operand->type != OPERAND_COMMAND)
		operand++;
	if (!operand->name)
		return false;
	*(char ***)((char *)parser->command->args + operand->offset) =
		parser->argv + parser->next - 1;
	parser->next = parser->argc;
	return true;
}

static int take_argument(struct parser *parser)
{
	const char *argument = parser->argv[parser->next++];

	if (!parser->options_ended && argument[0] == '-' && argument[1]) {
		if (argument[1] != '-')
			return take_letters(parser, argument);
		if (argument[2])
			return take_long(parser, argument);
		parser->options_ended = true;
		return 0;
	}
	if (parser->command->verb && parser->options_ended && take_command(parser))
		return 0;
	return parser->command->verb ? take_operand(parser, argument) :
				       take_verb(parser, argument);
}

static bool is_missing(const struct parser *parser, const struct operand_def *operand, size_t index)
{
	char *const *const *field = (char *const *const *)
		((const char *)parser->command->args + operand->offset);

	if (operand->type == OPERAND_COMMAND)
		return !*field;
	return index >= parser->operands && !operand->optional;
}

static int check_complete(struct parser *parser)
{
	const struct command *command = parser->command;
	size_t i = 0;

	if (command->globals.help || (command->globals.version && !command->group))
		return 0;
	if (!command->verb) {
		char next[96];

		snprintf(next, sizeof(next), "ipsecbpf help%s%s", command->group ? " " : "",
			 command->group ? command->group : "");
		report_error(parser->report, parser->who, next, "a command is missing");
		return -EINVAL;
	}
	for (const struct operand_def *operand = command->verb->operands; operand->name;
	     operand++) {
		if (is_missing(parser, operand, i++)) {
			report_error(parser->report, parser->who, NULL, "%s is missing",
				     operand->name);
			return -EINVAL;
		}
	}
	for (i = 0; command->verb->options[i].name; i++) {
		const struct option_def *option = &command->verb->options[i];

		if (option->required && !(parser->given & (UINT64_C(1) << i))) {
			report_error(parser->report, parser->who, NULL, "--%s%s%s is missing",
				     option->name, option->metavar ? " " : "",
				     option->metavar ? option->metavar : "");
			return -EINVAL;
		}
	}
	return 0;
}

int options_parse(int argc, char **argv, struct command *ret_command,
		  struct ipsecbpf_report *report)
{
	struct parser parser = {
		.argv = argv, .argc = argc, .next = 1, .command = ret_command, .who = "ipsecbpf",
		.report = report,
	};
	int err = 0;

	*ret_command = (struct command){ 0 };
	while (!err && parser.next < argc)
		err = take_argument(&parser);
	return err ? err : check_complete(&parser);
}

bool options_want_json(int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--"); i++)
		if (!strcmp(argv[i], "-j") || !strcmp(argv[i], "--json"))
			return true;
	return false;
}

int exit_code(int err, const char *object, struct ipsecbpf_report *report)
{
	const char *next = NULL;

	if (err >= 0)
		return EXIT_DONE;
	if (err == -EPERM || err == -EACCES)
		next = "run it as root";
	if (!report->errors)
		report_error(report, object, next, "%s", strerror(-err));
	return EXIT_REFUSED;
}
