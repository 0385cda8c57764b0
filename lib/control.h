/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the command line and the supervisor say to each other over RUN_ROOT/<dir>.sock (SOCK_STREAM,
 * owner root, mode 0600): one request, one reply, close. Fixed structures in host order; the parser
 * of JSON stays out of the process that keeps the keys.
 *
 * Included by: control.c, supervisor.c, and the library functions that ask a supervisor.
 * Ownership:   payloads are malloc'd by the reader, who wipes and frees them.
 */
#ifndef IPSECBPF_CONTROL_H
#define IPSECBPF_CONTROL_H

#include <stdint.h>

#include "ipsecbpf.h"
#include "paths.h"

#define CONTROL_MAGIC	    0x49500005u /* changes with any structure below, or the suites' order */
#define CONTROL_PAYLOAD_MAX (64u << 20)
#define CONTROL_TIMEOUT_S   10

enum control_type {
	CONTROL_STATUS,	  /* -> struct control_status */
	CONTROL_SA_APPLY, /* struct sa_config[] -> struct ipsecbpf_sa_result */
	CONTROL_SA_LIST,  /* -> struct control_sa[] */
	CONTROL_SA_FLUSH, /* -> uint32_t, SAs removed */
	CONTROL_CONFIRM,  /* ends the trial period */
	CONTROL_STOP,	  /* the supervisor forgets all SAs and exits */
	CONTROL_SA_DELETE, /* struct ipsecbpf_sa_id */
	CONTROL_SA_ROTATE, /* struct control_rotate, struct sa_config[] -> ipsecbpf_sa_result */
	CONTROL_SA_EVENTS, /* uint64_t, a serial -> the struct ipsecbpf_sa_event[] after it */
	CONTROL_POLICY_TRIAL, /* a policy is on trial: note when it runs out */
	CONTROL_WATCH_NAMES, /* the policy in force may have host names: watch them */
};

/* Both ways. In a reply `type` repeats the request's and err is 0 or -errno. With an error the
 * payload is report items: level octet, then object, cause and next, each with a final NUL. */
struct control_header {
	uint32_t magic;
	uint32_t type;
	uint32_t flags; /* CONTROL_SA_APPLY, CONTROL_SA_ROTATE: SA_APPLY_FRESH */
	int32_t err;
	uint32_t len; /* octets of payload that follow */
};

struct control_status {
	int32_t supervisor_pid, worker_pid;
	uint32_t worker_restarts;
	uint32_t queues;
	uint32_t sas_in, sas_out;
	uint32_t mtu, inner_mtu;
	int64_t trial_left;
	uint8_t zero_copy;
	uint8_t keeper_gone; /* nobody is left to follow host names and to put back socket hooks */
	uint32_t busy_poll_us;
	char host_port[16];
	char engine[64];
};

struct control_sa {
	struct ipsecbpf_sa_info info; /* suite is not meant: a pointer does not travel */
	uint16_t suite;		      /* suite_index() */
};

struct control_rotate {
	uint32_t switch_after, drain; /* seconds */
};

#define CONTROL_LAST_EVENT UINT64_MAX /* CONTROL_SA_EVENTS: only the latest one */

/* One request and its answer. */
struct control_call {
	enum control_type type;
	uint32_t flags;
	const void *payload; /* of the request; stays the caller's */
	uint32_t len;
	void *reply;	    /* out, on success: the caller frees it; may be NULL */
	uint32_t reply_len; /* out */
};

/*
 * Asks the supervisor of an attachment. 0, -ECONNREFUSED (no supervisor runs), or the supervisor's
 * -errno; explained in report.
 */
int control_ask(const struct paths *paths, struct control_call *call,
		struct ipsecbpf_report *report);

/* control_ask() without payload, where only success matters. */
int control_order(const struct paths *paths, enum control_type type,
		  struct ipsecbpf_report *report);

/* The supervisor's side: a listening socket, or -errno. An old socket that nobody serves is
 * replaced. */
int control_listen(const struct paths *paths);

/* Reads one request from a connection (waits at most CONTROL_TIMEOUT_S). 0 or -errno. */
int control_receive(int fd, struct control_header *ret_header, void **ret_payload);

/* Answers it: payload on success, the report's items on error. 0 or -errno. */
int control_reply(int fd, enum control_type type, int err, const void *payload, uint32_t len,
		  const struct ipsecbpf_report *report);

#endif /* IPSECBPF_CONTROL_H */
