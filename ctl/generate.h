/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the build makes of the tables: the generated sections of ipsecbpf(8) and the
 * completion script for bash. Each function returns malloc'd text for generate_free(), or
 * NULL + errno.
 *
 * Included by: help.c.
 */
#ifndef CTL_GENERATE_H
#define CTL_GENERATE_H

char *generate_man_commands(void);	/* generate_man.c */
char *generate_man_drops(void);
char *generate_man_checks(void);	/* of preflight */
char *generate_man_risks(void);		/* of ipsecbpf-policy(5) */
char *generate_man_metrics(void);
char *generate_bash_completion(void);	/* generate_completion.c */
void generate_free(char *text);

#endif /* CTL_GENERATE_H */
