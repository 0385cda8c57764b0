// SPDX-License-Identifier: BSD-2-Clause
/*
 * The paper's language: a tokenizer and a recursive descent, one function for each line of the
 * grammar.
 * After an error reading goes on behind the next ';' or '}', so that all are found.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy_import_internal.h"
#include "suggest.h"

enum token_kind { TOKEN_END, TOKEN_WORD, TOKEN_MARK, TOKEN_BAD };

struct token {
	enum token_kind kind;
	char text[IMPORT_WORD_MAX];	/* of a mark: one of {};,= */
	bool quoted;			/* no keyword, whatever it says */
	struct position at;
};

struct reading {
	struct import *import;
	const char *text, *end;
	struct position at;		/* of *text */
	struct token token;		/* the one to be read next */
	bool broken;			/* in an error: no other is reported before recovery */
};

/* ---- tokens -------------------------------------------------------------------------------- */

static void step(struct reading *reading)
{
	unsigned char passed = (unsigned char)*reading->text++;

	if (passed == '\n') {
		reading->at.line++;
		reading->at.column = 1;
	} else if ((passed & 0xc0) != 0x80) {	/* not inside of a UTF-8 sequence */
		reading->at.column++;
	}
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

static bool is_mark(char c)
{
	return c && strchr("{};,=", c);
}

static bool is_word(char c)
{
	return c > ' ' && c < 0x7f && !is_mark(c) && c != '"';
}

static void skip_blanks(struct reading *reading)
{
	bool comment = false;

	for (; reading->text < reading->end; step(reading)) {
		if (*reading->text == '\n')
			comment = false;
		else if (*reading->text == '#')
			comment = true;
		else if (!comment && !is_blank(*reading->text))
			return;
	}
}

static void token_error(struct reading *reading, const char *cause)
{
	struct token *token = &reading->token;

	token->kind = TOKEN_BAD;
	if (!reading->broken)
		import_error(reading->import, token->at, NULL, "%s", cause);
	reading->broken = true;
}

static void read_word(struct reading *reading)
{
	struct token *token = &reading->token;
	size_t len = 0;

	token->kind = TOKEN_WORD;
	token->quoted = *reading->text == '"';
	if (token->quoted)
		step(reading);
	for (; reading->text < reading->end; step(reading)) {
		char c = *reading->text;

		if (token->quoted ? c == '"' || c < ' ' || c == 0x7f : !is_word(c))
			break;
		if (len + 1 < sizeof(token->text))
			token->text[len] = c;
		len++;
	}
	token->text[len < sizeof(token->text) ? len : 0] = '\0';
	if (token->quoted && (reading->text == reading->end || *reading->text != '"'))
		token_error(reading, "the quoted name does not end on its line, or is not of printable "
				     "ASCII characters");
	else if (len >= sizeof(token->text))
		token_error(reading, "the word is too long");
	else if (!len)
		token_error(reading, "the name is empty");
	if (token->quoted && reading->text < reading->end && *reading->text == '"')
		step(reading);
}

static void advance(struct reading *reading)
{
	struct token *token = &reading->token;

	skip_blanks(reading);
	token->at = reading->at;
	token->quoted = false;
	token->text[0] = '\0';
	if (reading->text == reading->end) {
		token->kind = TOKEN_END;
	} else if (is_mark(*reading->text)) {
		token->kind = TOKEN_MARK;
		token->text[0] = *reading->text;
		token->text[1] = '\0';
		step(reading);
	} else if (is_word(*reading->text) || *reading->text == '"') {
		read_word(reading);
	} else {
		token_error(reading, "only printable ASCII characters are part of the language");
		step(reading);
	}
}

/* ---- expecting ----------------------------------------------------------------------------- */

static bool at_mark(const struct reading *reading, char mark)
{
	return reading->token.kind == TOKEN_MARK && reading->token.text[0] == mark;
}

static bool at_word(const struct reading *reading, const char *word)
{
	return reading->token.kind == TOKEN_WORD && !reading->token.quoted &&
	       !strcmp(reading->token.text, word);
}

/* `words`: what would have been right, of which the nearest is offered; NULL: no words. */
static bool unexpected(struct reading *reading, const char *wanted, const char *const *words)
{
	const struct token *token = &reading->token;
	struct suggest near = { .word = token->text };
	char next[96];

	if (reading->broken)
		return false;
	reading->broken = true;
	for (; words && *words && token->kind == TOKEN_WORD; words++)
		suggest_offer(&near, *words);
	if (near.best)
		snprintf(next, sizeof(next), "did you mean \"%s\"?", near.best);
	if (token->kind == TOKEN_END)
		import_error(reading->import, token->at, NULL, "the file ends where %s is expected",
			     wanted);
	else
		import_error(reading->import, token->at, near.best ? next : NULL,
			     "%s is expected, not \"%.100s\"", wanted, token->text);
	return false;
}

static bool take_mark(struct reading *reading, char mark)
{
	const char wanted[] = { '\'', mark, '\'', '\0' };

	if (!at_mark(reading, mark))
		return unexpected(reading, wanted, NULL);
	advance(reading);
	return true;
}

static bool take_keyword(struct reading *reading, const char *keyword)
{
	const char *const words[] = { keyword, NULL };
	char wanted[64];

	snprintf(wanted, sizeof(wanted), "\"%s\"", keyword);
	if (!at_word(reading, keyword))
		return unexpected(reading, wanted, words);
	advance(reading);
	return true;
}

/* One of two. */
static bool take_choice(struct reading *reading, const char *first, const char *second,
			bool *ret_first)
{
	const char *const words[] = { first, second, NULL };
	char wanted[64];

	snprintf(wanted, sizeof(wanted), "\"%s\" or \"%s\"", first, second);
	if (!at_word(reading, first) && !at_word(reading, second))
		return unexpected(reading, wanted, words);
	*ret_first = at_word(reading, first);
	advance(reading);
	return true;
}

static bool take_name(struct reading *reading, const char *wanted, char **ret_name)
{
	if (reading->token.kind != TOKEN_WORD)
		return unexpected(reading, wanted, NULL);
	*ret_name = strdup(reading->token.text);
	if (!*ret_name) {
		reading->import->no_memory = true;
		return false;
	}
	advance(reading);
	return true;
}

/* Behind the ';' that ends what is broken, or to the brace that ends what it is in. */
static void recover(struct reading *reading)
{
	size_t depth = 0;
	bool last = false;

	if (reading->import->no_memory || !reading->broken)
		return;
	while (!last && reading->token.kind != TOKEN_END) {
		if (at_mark(reading, '}') && !depth)
			break;
		if (at_mark(reading, '{'))
			depth++;
		else if (at_mark(reading, '}'))
			last = !--depth;
		else
			last = at_mark(reading, ';') && !depth;
		reading->broken = !last;	/* what comes next is reported again */
		advance(reading);
	}
	if (!last)
		reading->broken = false;
}

static bool going(const struct reading *reading)
{
	return !reading->import->no_memory && reading->import->errors < IMPORT_ERRORS_MAX &&
	       reading->token.kind != TOKEN_END;
}

/* ---- protection-setting -------------------------------------------------------------------- */

static bool read_port(struct reading *reading, const char *keyword, bool *ret_any,
		      uint16_t *ret_port)
{
	const char *text = reading->token.text;
	unsigned long port = 0;

	if (!take_keyword(reading, keyword) || !take_mark(reading, '='))
		return false;
	*ret_any = at_word(reading, "any");
	if (!*ret_any) {
		size_t digits = strspn(text, "0123456789");

		port = digits && digits < 6 && !text[digits] ? strtoul(text, NULL, 10) : 0;
		if (!port || port > UINT16_MAX)
			return unexpected(reading, "a port (1 to 65535) or \"any\"", NULL);
	}
	*ret_port = (uint16_t)port;
	advance(reading);
	return true;
}

static bool read_item(struct reading *reading, struct import_item *item)
{
	item->at = reading->token.at;
	if (!read_port(reading, "localport", &item->local_any, &item->local) ||
	    !read_port(reading, "remoteport", &item->remote_any, &item->remote) ||
	    !take_choice(reading, "encryption", "authentication", &item->encryption) ||
	    !take_choice(reading, "optional", "mandatory", &item->optional))
		return false;
	return take_mark(reading, ';');
}

static bool read_protection(struct reading *reading, struct import_protection *protection)
{
	struct import_item *item;

	protection->at = reading->token.at;
	if (!take_name(reading, "the protection's name", &protection->name) ||
	    !take_mark(reading, '{'))
		return false;
	while (going(reading) && !at_mark(reading, '}')) {
		item = import_slot(reading->import, &protection->items, &protection->item_count,
				   sizeof(*item));
		if (!item)
			return false;
		if (!read_item(reading, item))
			recover(reading);
	}
	if (at_mark(reading, '}') && !protection->item_count)
		return unexpected(reading, "at least one localport=... remoteport=...", NULL);
	return take_mark(reading, '}');
}

/* ---- network-def --------------------------------------------------------------------------- */

static bool is_host_name(const char *text)
{
	size_t label = 0, len = strlen(text);
	bool letters = false;	/* in the last label: no address ends so (RFC 1123 2.1) */

	for (const char *c = text; *c; c++) {
		if (*c == '.' ? !label || c[-1] == '-' : !isalnum((unsigned char)*c) && (*c != '-' || !label))
			return false;
		letters = *c != '.' && (letters || !isdigit((unsigned char)*c));
		label = *c == '.' ? 0 : label + 1;
		if (label > 63)
			return false;
	}
	return letters && len <= 253 && text[len - 1] != '-' && text[len - 1] != '.';
}

/* Blanks may stand around the '-' and '/' of a range. */
static bool joins(const char *left, const char *right)
{
	size_t len = strlen(left);

	return left[len - 1] == '-' || left[len - 1] == '/' || *right == '-' || *right == '/';
}

static bool read_range(struct reading *reading, struct import_network *network)
{
	const char *reason = NULL;
	char text[IMPORT_WORD_MAX] = "";
	size_t len;

	if (reading->token.kind != TOKEN_WORD)
		return unexpected(reading, "an address, a range or a host name", NULL);
	while (reading->token.kind == TOKEN_WORD && !reading->token.quoted) {
		if (*text && !joins(text, reading->token.text))
			break;
		len = strlen(text);
		snprintf(text + len, sizeof(text) - len, "%s", reading->token.text);
		advance(reading);
	}
	network->remote = strdup(text);
	if (!network->remote) {
		reading->import->no_memory = true;
		return false;
	}
	if (address_parse(text, &network->range, &reason))
		return true;
	network->is_name = is_host_name(text);
	if (network->is_name && strcmp(text, "any"))
		return true;
	import_error(reading->import, network->at,
		     network->is_name ? "write 0.0.0.0/0 for all of IPv4, and ::/0 for all of IPv6" :
					"write 10.0.0.0/8, 10.0.0.1-10.0.0.9, 10.0.0.1 or www.example.org",
		     "\"%.100s\" is neither an address nor a host name: %s", text,
		     reason ? reason : "it has no letter");
	return true;	/* the line goes on as it should */
}

static bool read_network(struct reading *reading, struct import_network *network)
{
	static const char *const classes[] = { "trusted", "untrusted", "protected", NULL };
	size_t class = 0;

	network->at = reading->token.at;
	if (!read_range(reading, network))
		return false;
	while (classes[class] && !at_word(reading, classes[class]))
		class++;
	if (!classes[class])
		return unexpected(reading, "\"trusted\", \"untrusted\" or \"protected\"", classes);
	network->class = (enum import_class)class;
	advance(reading);
	network->protection_at = reading->token.at;
	if (network->class == IMPORT_PROTECTED &&
	    !take_name(reading, "the name of a protection", &network->protection_name))
		return false;
	return take_mark(reading, ';');
}

/* ---- application --------------------------------------------------------------------------- */

static bool read_names(struct reading *reading, struct import_application *application)
{
	struct import *import = reading->import;
	struct import_program *program;

	do {
		if (application->program_count)
			advance(reading);	/* the comma */
		if (import->program_count++ == IMPORT_PROGRAMS_MAX) {
			import_error(import, reading->token.at, "import the file in parts",
				     "more than %d programs", IMPORT_PROGRAMS_MAX);
			return !(reading->broken = true);
		}
		program = import_slot(import, &application->programs, &application->program_count,
				      sizeof(*program));
		if (!program)
			return false;
		program->at = reading->token.at;
		if (!take_name(reading, "a program's name or path", &program->name))
			return false;
	} while (at_mark(reading, ','));
	return true;
}

static bool read_setting(struct reading *reading, struct import_application *application)
{
	struct import_protection *protection;
	struct import_network *network;
	bool is_network;

	if (!take_choice(reading, "network", "protection", &is_network))
		return false;
	if (is_network) {
		network = import_slot(reading->import, &application->networks,
				      &application->network_count, sizeof(*network));
		return network && read_network(reading, network);
	}
	protection = import_slot(reading->import, &application->protections,
				 &application->protection_count, sizeof(*protection));
	return protection && read_protection(reading, protection);
}

static bool read_application(struct reading *reading)
{
	struct import *import = reading->import;
	struct import_application *application;

	application = import_slot(import, &import->applications, &import->application_count,
				  sizeof(*application));
	if (!application)
		return false;
	application->at = reading->token.at;
	if (!take_keyword(reading, "application") || !read_names(reading, application) ||
	    !take_mark(reading, '{'))
		return false;
	while (going(reading) && !at_mark(reading, '}'))
		if (!read_setting(reading, application))
			recover(reading);
	return take_mark(reading, '}');
}

void import_read(struct import *import, const char *text, size_t len)
{
	struct reading reading = {
		.import = import, .text = text, .end = text + len, .at = { 1, 1 },
	};

	advance(&reading);
	if (reading.token.kind == TOKEN_END)
		unexpected(&reading, "\"application\"", NULL);
	while (going(&reading)) {
		if (read_application(&reading))
			continue;
		recover(&reading);
		if (at_mark(&reading, '}'))	/* of nothing, or of what is broken */
			advance(&reading);
	}
}
