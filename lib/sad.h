/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The SAD as the supervisor keeps it: configurations with keys, slots, sequence number
 * reservations, and what of it is published to the BPF maps. Keys live here and in the worker,
 * nowhere else.
 *
 * Included by: supervisor.c, supervisor_requests.c. Threading: the supervisor's thread.
 * Order:       adding: reservation on disk, worker, then BPF maps; removing: the other way round.
 * So no packet is ever steered to an SA that the worker does not have.
 */
#ifndef IPSECBPF_SAD_H
#define IPSECBPF_SAD_H

#include "control.h"
#include "net_watch.h"
#include "pin.h"
#include "reservation.h"
#include "sa.h"

#define SA_EVENTS_KEPT 256

struct sad_sa {
	bool used;
	bool counted;			/* in sad_peers or udp_sas */
	uint8_t gen;			/* of the slot; survives removal */
	uint8_t stage;			/* enum sa_stage; never STAGE_DYING, see `warned` */
	uint16_t warned;		/* bits 1 << enum sa_cause that have been told */
	uint32_t drain;			/* STAGE_PENDING: seconds for what it replaces */
	uint64_t until_ns;		/* STAGE_PENDING: used then; STAGE_DRAINING: the end */
	uint64_t rotation;		/* STAGE_PENDING: it replaces SAs with serials up to this */
	uint64_t serial;		/* order of installation: the newest outbound SA is used */
	struct reservation reservation; /* outbound */
	struct sa_config config;
};

/* How far an inbound SA that was removed had received: if it is applied again, all that is old. */
struct sad_mark {
	char key_id[33];
	union wire_addr dst;
	__be32 spi;
	uint64_t replay_top;		/* 0: unused */
};

/* How the worker hears of SAs. 0 or the worker's -errno; a dead worker is 0: it gets all at
 * restart. */
struct sad_worker {
	int (*add)(void *context, uint32_t slot, const struct sad_sa *sa);
	int (*remove)(void *context, uint32_t slot);
	void *context;
};

struct sad {
	const struct pins *pins;
	struct sad_worker worker;
	struct net_watch *net_watch; /* the caller's; NULL: next hops stay unknown */
	struct sad_sa *sas; /* by slot; locked memory, wiped in forked children */
	size_t sas_size;
	struct sa_state *states; /* shared with worker and BPF */
	size_t states_size;
	uint32_t slots;
	uint32_t counts[SPD_DIRECTION_COUNT];	/* SAs */
	struct sad_mark *marks;		/* as many as slots; the oldest is forgotten first */
	uint32_t next_mark;
	uint64_t serial;
	struct ipsecbpf_sa_event events[SA_EVENTS_KEPT]; /* by serial modulo their number */
	uint64_t event_serial;
};

/* 0 or -errno. */
int sad_init(struct sad *sad, const struct pins *pins);
void sad_fini(struct sad *sad);

/*
 * Adds SAs, all or none. An SA that is there with the same keys and parameters counts as unchanged.
 * 0 or -errno, explained in report.
 */
int sad_apply(struct sad *sad, const struct sa_config *configs, size_t count, uint32_t flags,
	      struct ipsecbpf_sa_result *ret_result, struct ipsecbpf_report *report);

/* The same for SAs that take over from those that are there; see ipsecbpf_sa_rotate(). */
int sad_rotate(struct sad *sad, const struct sa_config *configs, size_t count, uint32_t flags,
	       const struct control_rotate *timing, struct ipsecbpf_sa_result *ret_result,
	       struct ipsecbpf_report *report);

/* 0, or -ENOENT, explained in report. */
int sad_delete(struct sad *sad, const struct ipsecbpf_sa_id *id, struct ipsecbpf_report *report);

/*
 * Once a second while there are SAs: limits and rotations. largest_refused: octets that a packet
 * may have had which the worker has refused since the last look because of a hard limit; 0: none.
 */
void sad_look(struct sad *sad, uint32_t largest_refused);

/* Removes all SAs; returns how many. Unused sequence numbers go back to the disk. */
uint32_t sad_flush(struct sad *sad);

/* Optional protections are optional again: the administrator has said so. */
void sad_forget_had_sa(const struct sad *sad);

/* struct net_watch_config.next_hop; context: the struct sad. */
void sad_next_hop(void *context, uint32_t slot, uint64_t value);

/* Promises more numbers where half a block is used up. False if the disk refused some: try again.
 */
bool sad_refill(struct sad *sad);

/* All SAs with their run-time figures; malloc'd. NULL with ENOMEM. */
struct control_sa *sad_list(const struct sad *sad, uint32_t mtu, uint32_t *ret_count);

/* Copies the events after a serial, the oldest first; CONTROL_LAST_EVENT: only the last. Returns
 * how many. */
uint32_t sad_events(const struct sad *sad, uint64_t since,
		    struct ipsecbpf_sa_event events[SA_EVENTS_KEPT]);

#endif /* IPSECBPF_SAD_H */
