// SPDX-License-Identifier: BSD-2-Clause
/*
 * What the grammar of the paper's language cannot say: that names stand for something, and what
 * each line leaves to those behind it. And what the language leaves to IKE: who the peers are.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "policy_import_internal.h"
#include "policy_internal.h"
#include "script.h"
#include "suggest.h"

/* ---- programs ------------------------------------------------------------------------------ */

/* Where programs are that users and systemd start by their names, in the order of a usual PATH. */
static const char *const program_dirs[] = {
	"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin",
	"/usr/libexec",
};

static bool is_program(const char *path)
{
	struct stat st;

	return !stat(path, &st) && S_ISREG(st.st_mode) && (st.st_mode & 0111);
}

/* malloc'd, or NULL: there is none. */
static char *search_program(const char *name)
{
	char path[PATH_MAX];

	for (size_t i = 0; i < sizeof(program_dirs) / sizeof(program_dirs[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", program_dirs[i], name);
		if (is_program(path))
			return strdup(path);
	}
	return NULL;
}

/* The value that "NAME=VALUE" gives to this name, or NULL. */
static const char *given_value(const char *const *pairs, size_t count, const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < count; i++)
		if (!strncmp(pairs[i], name, len) && pairs[i][len] == '=')
			return pairs[i] + len + 1;
	return NULL;
}

/* What runs is the interpreter then, which runs other scripts as well. */
static void warn_of_script(struct import *import, const struct import_program *program)
{
	if (script_interpreter(program->path, NULL, 0))
		import_report(import, REPORT_WARNING, program->at,
			      "match it by \"unit\" or \"cgroup\" in the JSON",
			      "%s is a script: what runs is its interpreter, and the application "
			      "would not be known by it", program->path);
}

static void find_program(struct import *import, const struct policy_import_opts *opts,
			 struct import_program *program)
{
	const char *given = given_value(opts->programs, opts->program_count, program->name);
	char next[128];

	if (!given && program->name[0] == '/')
		given = program->name;
	if (!given && strchr(program->name, '/')) {
		import_error(import, program->at, "write the whole path, from the root on",
			     "\"%.100s\" is neither a name nor an absolute path", program->name);
		return;
	}
	program->path = given ? strdup(given) : search_program(program->name);
	if (program->path && !is_program(program->path))
		import_report(import, REPORT_WARNING, program->at,
			      "install it, or correct the path, before the policy is applied",
			      "%.200s is no program on this host", program->path);
	else if (program->path)
		warn_of_script(import, program);
	else if (given)
		import->no_memory = true;
	else {
		snprintf(next, sizeof(next), "write its path, or say it: --program %.60s=/PATH",
			 program->name);
		import_error(import, program->at, next,
			     "no program \"%.100s\" in the usual directories of this host",
			     program->name);
	}
}

/* ---- what is written twice ----------------------------------------------------------------- */

struct program_seat {
	const char *path;
	const struct import_program *program;
};

static int compare_seats(const void *a, const void *b)
{
	const struct program_seat *x = a, *y = b;
	int order = strcmp(x->path, y->path);

	if (order)
		return order;
	return x->program->at.line != y->program->at.line ?
		       (x->program->at.line > y->program->at.line) * 2 - 1 :
		       (x->program->at.column > y->program->at.column) * 2 - 1;
}

/* Of two policies for one program only the first would ever be asked. */
static void refuse_repeated_programs(struct import *import)
{
	struct program_seat *seats = calloc(import->program_count, sizeof(*seats));
	size_t count = 0;

	if (!seats) {
		import->no_memory = true;
		return;
	}
	for (size_t i = 0; i < import->application_count; i++) {
		const struct import_application *application = &import->applications[i];

		for (size_t j = 0; j < application->program_count; j++)
			if (application->programs[j].path)
				seats[count++] = (struct program_seat){
					application->programs[j].path, &application->programs[j] };
	}
	qsort(seats, count, sizeof(*seats), compare_seats);
	for (size_t i = 1; i < count; i++)
		if (!strcmp(seats[i].path, seats[i - 1].path))
			import_error(import, seats[i].program->at, "leave it in one application",
				     "%.200s has an application already, at line %u",
				     seats[i].path, seats[i - 1].program->at.line);
	free(seats);
}

/* ---- protections --------------------------------------------------------------------------- */

static void find_protection(struct import *import, struct import_application *application,
			    struct import_network *network)
{
	struct suggest near = { .word = network->protection_name };
	char next[96];

	for (size_t i = 0; i < application->protection_count; i++) {
		struct import_protection *protection = &application->protections[i];

		if (!protection->name)
			continue;
		suggest_offer(&near, protection->name);
		if (strcmp(protection->name, network->protection_name))
			continue;
		protection->used = true;
		network->protection = i;
		return;
	}
	if (near.best)
		snprintf(next, sizeof(next), "did you mean \"%.60s\"?", near.best);
	import_error(import, network->protection_at,
		     near.best ? next : "define it in the same application: protection NAME { ... }",
		     "no protection \"%.60s\" in this application", network->protection_name);
}

static bool item_covers(const struct import_item *first, const struct import_item *later)
{
	return (first->local_any || (!later->local_any && first->local == later->local)) &&
	       (first->remote_any || (!later->remote_any && first->remote == later->remote));
}

static void check_protection(struct import *import, const struct import_application *application,
			     const struct import_protection *protection)
{
	for (const struct import_protection *other = application->protections;
	     other < protection; other++)
		if (!strcmp(other->name, protection->name))
			import_error(import, protection->at, NULL,
				     "protection \"%.60s\" is defined already, at line %u",
				     protection->name, other->at.line);
	if (!protection->used)
		import_report(import, REPORT_WARNING, protection->at, NULL,
			      "no network is protected by \"%.60s\"", protection->name);
	for (size_t i = 1; i < protection->item_count; i++)
		for (size_t j = 0; j < i; j++) {
			if (!item_covers(&protection->items[j], &protection->items[i]))
				continue;
			import_report(import, REPORT_WARNING, protection->items[i].at,
				      "write it first: the first one that matches decides",
				      "the one at line %u leaves nothing to this one",
				      protection->items[j].at.line);
			break;
		}
}

/* ---- networks ------------------------------------------------------------------------------ */

static bool range_covers(const struct address_range *outer, const struct address_range *inner)
{
	return outer->family == inner->family && addr128_compare(outer->lo, inner->lo) <= 0 &&
	       addr128_compare(inner->hi, outer->hi) <= 0;
}

static bool network_covers(const struct import_network *first, const struct import_network *later)
{
	if (first->is_name || later->is_name)
		return first->is_name && later->is_name &&
		       !strcasecmp(first->remote, later->remote);
	return range_covers(&first->range, &later->range);
}

static void check_network(struct import *import, struct import_application *application,
			  struct import_network *network)
{
	for (const struct import_network *other = application->networks; other < network; other++)
		if (network_covers(other, network)) {
			import_report(import, REPORT_WARNING, network->at,
				      "write it first: the first network that an address is in "
				      "decides",
				      "the one at line %u leaves nothing to this one",
				      other->at.line);
			break;
		}
	if (network->class == IMPORT_PROTECTED)
		find_protection(import, application, network);
}

/* ---- peers --------------------------------------------------------------------------------- */

static void refuse_option(struct import *import, const char *object, const char *next,
			  const char *cause)
{
	report_error(import->report, object, next, "%s", cause);
	import->errors++;
}

static struct import_peer *peer_named(struct import *import, const char *name)
{
	struct import_peer *peer;

	for (size_t i = 0; i < import->peer_count; i++)
		if (!strcmp(import->peers[i].name, name))
			return &import->peers[i];
	if (import->peer_count == PROTECT_MAX) {
		refuse_option(import, name, "tunnels are with few peers for many hosts",
			      "more peers than a policy can have");
		return NULL;
	}
	peer = import_slot(import, &import->peers, &import->peer_count, sizeof(*peer));
	if (peer)
		snprintf(peer->name, sizeof(peer->name), "%s", name);
	return peer;
}

static const struct import_peer *peer_at(const struct import *import,
					 const struct address_range *address)
{
	for (size_t i = 0; i < import->peer_count; i++)
		for (size_t j = 0; j < import->peers[i].address_count; j++)
			if (range_covers(&import->peers[i].addresses[j], address))
				return &import->peers[i];
	return NULL;
}

static void add_address(struct import *import, struct import_peer *peer,
			const struct address_range *address)
{
	struct address_range *slot;

	slot = peer ? import_slot(import, &peer->addresses, &peer->address_count, sizeof(*slot)) :
		      NULL;
	if (slot)
		*slot = *address;
}

static void take_peer(struct import *import, const char *pair)
{
	const char *value = strchr(pair, '='), *reason;
	struct address_range address;
	struct import_peer *peer;
	char object[128], name[NAME_LEN];

	snprintf(object, sizeof(object), "--peer %.100s", pair);
	if (!value || value == pair || value - pair >= NAME_LEN) {
		refuse_option(import, object, "--peer NAME=ADDRESS, a name of at most 63 characters",
			      "a name and an address are expected");
		return;
	}
	snprintf(name, sizeof(name), "%.*s", (int)(value - pair), pair);
	if (!address_parse(value + 1, &address, &reason)) {
		refuse_option(import, object, "--peer NAME=ADDRESS", reason);
		return;
	}
	if (addr128_compare(address.lo, address.hi)) {
		refuse_option(import, object, "--peer again for each of its addresses",
			      "a peer has single addresses");
		return;
	}
	if (peer_at(import, &address)) {
		refuse_option(import, object, NULL, "the address is a peer's already");
		return;
	}
	peer = peer_named(import, name);
	if (peer)
		peer->given = true;
	add_address(import, peer, &address);
}

/* A protected network of one host is a peer; its name is its address. */
static void infer_peer(struct import *import, const struct import_network *network)
{
	char name[128];

	if (addr128_compare(network->range.lo, network->range.hi) ||
	    peer_at(import, &network->range))
		return;
	address_format(&network->range, name, sizeof(name));
	add_address(import, peer_named(import, name), &network->range);
}

static bool has_peer(const struct import *import, const struct import_network *network)
{
	for (size_t i = 0; i < import->peer_count; i++)
		for (size_t j = 0; j < import->peers[i].address_count; j++)
			if (range_covers(&network->range, &import->peers[i].addresses[j]))
				return true;
	return false;
}

static bool is_mandatory(const struct import_protection *protection)
{
	for (size_t i = 0; i < protection->item_count; i++)
		if (!protection->items[i].optional)
			return true;
	return false;
}

static void warn_of_no_peer(struct import *import, const struct import_application *application,
			    const struct import_network *network)
{
	if (network->class != IMPORT_PROTECTED)
		return;
	if (network->is_name && !import->peer_count)
		import_report(import, REPORT_WARNING, network->at, "--peer NAME=ADDRESS, its address",
			      "SAs are with peers, and a host name is none: %.100s is protected only "
			      "at the addresses of peers", network->remote);
	else if (!network->is_name && !has_peer(import, network))
		import_report(import, REPORT_WARNING, network->at,
			      "--peer NAME=ADDRESS for each host there that has SAs",
			      "no peer is in the protected network %.100s: %s", network->remote,
			      is_mandatory(&application->protections[network->protection]) ?
				      "what must be protected there is dropped" :
				      "all there passes in the clear");
}

static void take_peers(struct import *import, const struct policy_import_opts *opts)
{
	for (size_t i = 0; i < opts->peer_count; i++)
		take_peer(import, opts->peers[i]);
	for (size_t i = 0; i < import->application_count; i++) {
		const struct import_application *application = &import->applications[i];

		for (size_t j = 0; j < application->network_count; j++)
			if (!application->networks[j].is_name &&
			    application->networks[j].class == IMPORT_PROTECTED)
				infer_peer(import, &application->networks[j]);
	}
}

/* ---- all ----------------------------------------------------------------------------------- */

static void check_application(struct import *import, const struct policy_import_opts *opts,
			      struct import_application *application)
{
	if (!application->network_count)
		import_error(import, application->at, "network ADDRESS trusted|untrusted|protected NAME;",
			     "the application names no network: nothing is said of it");
	for (size_t i = 0; i < application->program_count; i++)
		find_program(import, opts, &application->programs[i]);
	for (size_t i = 0; i < application->network_count; i++)
		check_network(import, application, &application->networks[i]);
	for (size_t i = 0; i < application->protection_count; i++)
		check_protection(import, application, &application->protections[i]);
}

void import_check(struct import *import, const struct policy_import_opts *opts)
{
	for (size_t i = 0; i < opts->program_count; i++) {
		const char *path = strchr(opts->programs[i], '=');

		if (!path || path == opts->programs[i] || path[1] != '/')
			refuse_option(import, opts->programs[i], "--program NAME=/PATH",
				      "a name and an absolute path are expected");
	}
	for (size_t i = 0; i < import->application_count; i++)
		check_application(import, opts, &import->applications[i]);
	refuse_repeated_programs(import);
	take_peers(import, opts);
	for (size_t i = 0; i < import->application_count && !import->errors; i++)
		for (size_t j = 0; j < import->applications[i].network_count; j++)
			warn_of_no_peer(import, &import->applications[i],
					&import->applications[i].networks[j]);
}
