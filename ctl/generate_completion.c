// SPDX-License-Identifier: BSD-2-Clause
/*
 * The completion script for bash: what belongs to each command as data, and one function that
 * reads the line with it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "generate.h"
#include "options.h"

static void put_option_words(FILE *out, const struct option_def *options)
{
	for (; options->name; options++)
		if (!options->hidden)
			fprintf(out, " --%s", options->name);
}

/* The names of groups and of verbs without a group, or the verbs of `group`. */
static void put_verb_words(FILE *out, const char *group)
{
	const char *last = "";

	for (const struct verb *const *verb = verbs; *verb; verb++) {
		const char *word = (*verb)->name;

		if (group && (!(*verb)->group || strcmp((*verb)->group, group)))
			continue;
		if (!group && (*verb)->group)
			word = (*verb)->group;
		if (strcmp(word, last))
			fprintf(out, " %s", word);
		last = word;
	}
}

/* case arms "verb:--option) values" for options that take a value */
static void put_value_arms(FILE *out, const struct verb *verb)
{
	for (const struct option_def *option = verb->options; option->name; option++) {
		if (option->type == OPT_FLAG)
			continue;
		fprintf(out, "\t'%s%s%s:--%s'", verb->group ? verb->group : "",
			verb->group ? " " : "", verb->name, option->name);
		if (option->letter)
			fprintf(out, "|'%s%s%s:-%c'", verb->group ? verb->group : "",
				verb->group ? " " : "", verb->name, option->letter);
		fputs(") ", out);
		if (option->type == OPT_FILE)
			fputs("kind=file", out);
		else
			fputs("kind=words words=\"", out);
		for (size_t i = 0; option->type == OPT_WORD && option->word_at(i); i++)
			fprintf(out, "%s%s", i ? " " : "", option->word_at(i));
		fputs(option->type == OPT_FILE ? " ;;\n" : "\" ;;\n", out);
	}
}

static const char *operand_kind(enum operand_type type)
{
	static const char *const kinds[] = {
		[OPERAND_IFNAME] = "ifname", [OPERAND_FILE] = "file", [OPERAND_VERB] = "verb",
		[OPERAND_DIRECTION] = "direction", [OPERAND_WORD] = "none",
		[OPERAND_COMMAND] = "command",
	};

	return kinds[type];
}

static void put_verb_arm(FILE *out, const struct verb *verb)
{
	fprintf(out, "\t'%s%s%s') options=\"", verb->group ? verb->group : "",
		verb->group ? " " : "", verb->name);
	put_option_words(out, verb->options);
	fputs("\" operands=\"", out);
	for (const struct operand_def *operand = verb->operands; operand->name; operand++)
		fprintf(out, " %s", operand_kind(operand->type));
	fputs("\" ;;\n", out);
}

/* Functions that set variables: what belongs to a command, to an option of it, and to a group. */
static void put_facts(FILE *out)
{
	fputs("_ipsecbpf_verb() {\n\toptions= operands=\n\tcase \"$1\" in\n", out);
	for (const struct verb *const *verb = verbs; *verb; verb++)
		put_verb_arm(out, *verb);
	fputs("\tesac\n}\n\n_ipsecbpf_value() {\n\tkind= words=\n\tcase \"$1\" in\n", out);
	for (const struct verb *const *verb = verbs; *verb; verb++)
		put_value_arms(out, *verb);
	fputs("\tesac\n}\n\n_ipsecbpf_groups() {\n\twords=\n\tcase \"$1\" in\n\t'') words=\"", out);
	put_verb_words(out, NULL);
	fputs("\" ;;\n", out);
	for (const struct verb *const *verb = verbs; *verb; verb++) {
		/* Once for each group: at its first verb. */
		if (!(*verb)->group || (verb != verbs && verb[-1]->group &&
					!strcmp(verb[-1]->group, (*verb)->group)))
			continue;
		fprintf(out, "\t%s) words=\"", (*verb)->group);
		put_verb_words(out, (*verb)->group);
		fputs("\" ;;\n", out);
	}
	fputs("\tesac\n}\n\n", out);
}

/*
 * COMP_WORDS has the words of the line, the last is the one to complete. compgen -W expands its
 * words as the shell does, commands included: only words of our own may go there, never a name.
 */
static const char bash_body[] =
	"_ipsecbpf() {\n"
	"\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
	"\tlocal group= verb= operand=0 options= operands= kind= words= i word takes= behind=\n"
	"\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	"\t\tword=${COMP_WORDS[i]}\n"
	"\t\tif [[ -n $takes ]]; then takes=; continue; fi\n"
	"\t\tif [[ $word == -- ]]; then\n"
	"\t\t\t_ipsecbpf_verb \"$verb\"\n"
	"\t\t\tif [[ $operands == *command* ]]; then behind=$((i + 1)); break; fi\n"
	"\t\t\tcontinue\n"
	"\t\tfi\n"
	"\t\tif [[ $word == -?* ]]; then\n"
	"\t\t\t_ipsecbpf_value \"$verb:$word\"; takes=$kind\n"
	"\t\telif [[ -n $verb ]]; then ((++operand))\n"
	"\t\telif [[ -n $group ]]; then verb=\"$group $word\"\n"
	"\t\telse\n"
	"\t\t\t_ipsecbpf_groups \"$word\"\n"
	"\t\t\tif [[ -n $words ]]; then group=$word; else verb=$word; fi\n"
	"\t\tfi\n"
	"\tdone\n"
	"\tCOMPREPLY=()\n"
	"\tif [[ -n $behind ]]; then\n"
	"\t\tif ((COMP_CWORD == behind)); then mapfile -t COMPREPLY < <(compgen -c -- \"$cur\")\n"
	"\t\telse mapfile -t COMPREPLY < <(compgen -f -- \"$cur\"); fi\n"
	"\t\treturn\n"
	"\tfi\n"
	"\t_ipsecbpf_value \"$verb:$prev\"\n"
	"\tif [[ -z $kind ]]; then\n"
	"\t\t_ipsecbpf_verb \"$verb\"\n"
	"\t\tif [[ $cur == -* ]]; then kind=words words=\"$options $global\"\n"
	"\t\telif [[ -z $verb ]]; then kind=words; _ipsecbpf_groups \"$group\"\n"
	"\t\telse\n"
	"\t\t\tset -- $operands; shift \"$((operand < $# ? operand : $#))\"; kind=${1-}\n"
	"\t\tfi\n"
	"\tfi\n"
	"\tcase $kind in\n"
	"\tfile)\n"
	"\t\tcompopt -o filenames 2>/dev/null\n"
	"\t\tmapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n"
	"\t\treturn ;;\n"
	"\tifname)\n"
	"\t\tfor word in /sys/class/net/*; do\n"
	"\t\t\t[[ -d $word ]] || continue\n"
	"\t\t\tword=${word##*/}\n"
	"\t\t\tprintf -v words %q \"$word\"\n"
	"\t\t\t[[ $word == \"$cur\"* || $words == \"$cur\"* ]] && COMPREPLY+=(\"$words\")\n"
	"\t\tdone\n"
	"\t\treturn ;;\n"
	"\tdirection) words='in out' ;;\n"
	"\tverb) word=; ((operand)) && word=$prev; _ipsecbpf_groups \"$word\" ;;\n"
	"\tesac\n"
	"\tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
	"}\n\n";

static char *finish(FILE *out, char **text)
{
	if (!fclose(out))
		return *text;
	free(*text);
	return NULL;
}

char *generate_bash_completion(void)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return NULL;
	fputs("# Completion of ipsecbpf for bash, generated from its option tables.\n\n", out);
	put_facts(out);
	for (const char *line = bash_body; *line;) {
		const char *hole = strstr(line, "$global");

		if (!hole) {
			fputs(line, out);
			break;
		}
		fwrite(line, 1, (size_t)(hole - line), out);
		put_option_words(out, global_options);
		line = hole + strlen("$global");
	}
	fputs("complete -F _ipsecbpf ipsecbpf\n", out);
	return finish(out, &text);
}
