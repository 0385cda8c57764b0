// SPDX-License-Identifier: BSD-2-Clause
/* Notes what app_scan() finds, as the socket hooks would have done. */
#include <bpf/bpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../bpf/spd_app.h"
#include "app_note.h"
#include "app_scan.h"
#include "inner_map.h"
#include "policy_match.h"
#include "policy_trial.h"
#include "socket_names.h"

struct noting {
	const struct pins *pins;
	const union spd_cell *cells;
	struct app_noter *noter;
	int storage;			/* map app_sockets */
	struct app_identity last;	/* of last_pid: a process has many sockets */
	pid_t last_pid;
	uint16_t ephemeral_lo, ephemeral_hi;
	size_t noted;
};

static uint64_t socket_cookie(int fd)
{
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);

	return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len) ? 0 : cookie;
}

static const struct spd_app *app_of(const union spd_cell *cells, uint32_t app)
{
	const struct spd_apps *apps = &cells[SPD_APPS_CELL].apps;

	return (const struct spd_app *)(const void *)&cells[spd_app_cell(apps, app)];
}

/* Of a socket that is older than its hooks nobody knows whether it chose its port: one that the
 * kernel gives to those who do not is taken for such. */
static uint32_t guess_flags(const struct noting *noting, int fd)
{
	struct socket_name local;
	uint16_t port = socket_local(fd, &local) ? ntohs(local.port) : 0;
	bool given = port >= noting->ephemeral_lo && port <= noting->ephemeral_hi;

	return port && !given ? APP_SOCKET_SERVER : 0;
}

/* ---- entries -------------------------------------------------------------------------------- */

static struct app_note note_of(const struct noting *noting, const struct app_socket *socket)
{
	const struct spd_app *app = app_of(noting->cells, APP_RESOLVED_APP(socket->resolved));

	return (struct app_note){
		.who = socket->who,
		.resolved = socket->resolved,
		.cookie = socket->noted,
		.name_digest = app->name_digest,
		.flows_max = app->flows_max,
	};
}

static void remove_endpoints(const struct noting *noting, const struct app_socket *socket)
{
	struct app_note note = note_of(noting, socket);

	note.what = APP_NOTE_ENDPOINT_GONE;
	for (int i = 0; i < APP_ENDPOINT_KEYS; i++) {
		note.endpoint = socket->endpoints[i];
		if (note.endpoint.family < FAMILY_COUNT)
			app_noter_note(noting->noter, &note);
	}
}

static void remove_entries(const struct noting *noting, const struct app_socket *socket)
{
	struct app_note note = note_of(noting, socket);

	remove_endpoints(noting, socket);
	note.what = APP_NOTE_FLOW_GONE;
	note.flow = socket->flow;
	if (note.flow.family < FAMILY_COUNT)
		app_noter_note(noting->noter, &note);
}

static int add_endpoints(const struct noting *noting, int fd, uint8_t proto,
			 struct app_socket *socket)
{
	struct app_endpoint_key keys[APP_ENDPOINT_KEYS];
	struct app_note note = note_of(noting, socket);
	int count = socket_endpoints(fd, proto, keys), err = 0;

	note.what = APP_NOTE_ENDPOINT;
	for (int i = 0; !err && i < count; i++) {
		note.endpoint = keys[i];
		err = app_noter_note(noting->noter, &note);
		if (!err)
			socket->endpoints[i] = keys[i];
	}
	return err;
}

static int add_flow(const struct noting *noting, int fd, uint8_t proto, struct app_socket *socket)
{
	struct app_note note = note_of(noting, socket);
	int err;

	if (!socket_flow(fd, proto, &note.flow))
		return 0;
	note.what = APP_NOTE_FLOW;
	err = app_noter_note(noting->noter, &note);
	if (!err)
		socket->flow = note.flow;
	return err;
}

/* Of a connection that there is no room for tc_egress will say so, packet by packet. */
static int add_entries(const struct noting *noting, const struct app_scan_socket *found,
		       struct app_socket *socket)
{
	int err = 0;

	socket->noted = socket_cookie(found->fd);
	if (found->proto == IPPROTO_UDP || found->proto == IPPROTO_UDPLITE || found->listening)
		err = add_endpoints(noting, found->fd, found->proto, socket);
	else if (found->proto == IPPROTO_TCP)
		err = add_flow(noting, found->fd, found->proto, socket);
	if (err) {
		remove_entries(noting, socket);
		socket->noted = 0;
	}
	return err == -ENOSPC ? 0 : err;
}

/* ---- sockets -------------------------------------------------------------------------------- */

static void forget_entries(struct app_socket *socket)
{
	for (int i = 0; i < APP_ENDPOINT_KEYS; i++)
		socket->endpoints[i].family = FAMILY_COUNT;
	socket->flow.family = FAMILY_COUNT;
}

/* 0, -ESRCH (the process is gone, and what it had open too) or -errno. */
static int identify(struct noting *noting, const struct app_scan_socket *found,
		    struct app_socket *socket)
{
	const __u64 *words = noting->pins->attachment.digest_seed;
	const uint64_t seed[2] = { words[0], words[1] };
	int err = 0;

	if (found->known) {
		*socket = found->socket;
		return 0;
	}
	if (found->pid != noting->last_pid)
		err = app_identity_pid(&noting->last, found->pid, seed, NULL);
	if (!err && !app_scan_is_there(found))
		err = -ESRCH;
	noting->last_pid = err ? 0 : found->pid;
	*socket = (struct app_socket){ .who = noting->last };
	socket->flags = guess_flags(noting, found->fd);
	forget_entries(socket);
	return err;
}

/* Has a hook, since it was looked at, noted what it has? */
static bool is_overtaken(const struct noting *noting, const struct app_scan_socket *found)
{
	struct app_socket now;

	return found->known && !bpf_map_lookup_elem(noting->storage, &found->fd, &now) &&
	       now.noted != found->socket.noted;
}

static int store(struct noting *noting, const struct app_scan_socket *found,
		 const struct app_socket *socket)
{
	/* A hook that was quicker is right: what it noted stays. Of what is known the kernel cannot
	 * make sure of that; an endpoint that is forgotten so would be there for ever. */
	int flags = found->known ? BPF_EXIST : BPF_NOEXIST;

	if (is_overtaken(noting, found)) {
		/* Endpoints are counted; the connection is the same one, and the hook's. */
		remove_endpoints(noting, socket);
		return 0;
	}
	if (!bpf_map_update_elem(noting->storage, &found->fd, socket, (__u64)flags)) {
		noting->noted++;
		return 0;
	}
	remove_entries(noting, socket);
	return errno == EEXIST || errno == ENOENT ? 0 : -errno;
}

static int note_socket(void *context, const struct app_scan_socket *found)
{
	struct noting *noting = context;
	struct app_socket socket;
	uint32_t app;
	int err = identify(noting, found, &socket);

	if (err)
		return err == -ESRCH ? 0 : err;
	app = app_resolve(noting->cells, &socket.who);
	if (found->known && (!app || socket.noted == socket_cookie(found->fd)))
		return 0;
	socket.resolved = APP_RESOLVED(noting->cells->head.serial, app);
	if (app) {
		/* A socket that was accepted has a copy of what its listener had noted. */
		forget_entries(&socket);
		err = add_entries(noting, found, &socket);
	}
	return err ? err : store(noting, found, &socket);
}

static void read_ephemeral_ports(struct noting *noting)
{
	FILE *file = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");
	unsigned int lo, hi;

	noting->ephemeral_lo = 32768;
	noting->ephemeral_hi = 60999;
	if (!file)
		return;
	if (fscanf(file, "%u %u", &lo, &hi) == 2) {
		noting->ephemeral_lo = (uint16_t)lo;
		noting->ephemeral_hi = (uint16_t)hi;
	}
	fclose(file);
}

int app_scan_note(const struct pins *pins, const union spd_cell *cells, size_t *ret_noted)
{
	struct noting noting = { .pins = pins, .cells = cells };
	char path[256];
	int err = 0;

	if (!cells->head.apps) {
		*ret_noted = 0;
		return 0;
	}
	pin_map_path(&pins->paths, "app_sockets", path, sizeof(path));
	noting.storage = bpf_obj_get(path);
	if (noting.storage < 0)
		return -errno;
	noting.noter = app_noter_open(pins);
	if (!noting.noter)
		err = -errno;
	read_ephemeral_ports(&noting);
	if (!err)
		err = app_scan(pins, note_socket, &noting);
	app_noter_close(noting.noter);
	close(noting.storage);
	if (!err)
		*ret_noted = noting.noted;
	return err;
}

int app_scan_note_generation(const struct pins *pins, uint32_t generation,
			     struct ipsecbpf_report *report)
{
	struct inner_map map;
	size_t noted;
	int err = inner_map_open(&map, pins->spd_fd, generation, false);

	if (err)
		return err == -ENODATA ? 0 : err;
	err = app_scan_note(pins, map.area, &noted);
	inner_map_close(&map);
	if (err)
		report_error(report, pins->ifname, "run it as root, with CAP_SYS_PTRACE",
			     "cannot note the sockets that are open already: %s", strerror(-err));
	return err;
}

int app_scan_note_live(const struct pins *pins, struct ipsecbpf_report *report)
{
	return app_scan_note_generation(pins, policy_generation(pins), report);
}
