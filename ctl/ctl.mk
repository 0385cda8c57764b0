# SPDX-License-Identifier: BSD-2-Clause
# Manual pages, completion, installation. Included by the Makefile.

MAN := $(B)/man/ipsecbpf.8 $(B)/man/ipsecbpf-policy.5 $(B)/man/ipsecbpf-sa.5
COMPLETION := $(B)/completion/ipsecbpf

SBINDIR ?= $(PREFIX)/sbin
MANDIR ?= $(PREFIX)/share/man
COMPLETIONDIR ?= $(PREFIX)/share/bash-completion/completions
DATADIR ?= $(PREFIX)/share/ipsecbpf
INSTALL ?= install

.PHONY: man
man: $(MAN)

# @COMMANDS@, @CHECKS@, @DROPS@, @METRICS@ and @RISKS@ stand alone on their lines; the command itself knows
# what belongs there.
$(B)/man/ipsecbpf.8: ctl/man/ipsecbpf.8.in $(B)/ipsecbpf
	$(call say,MAN,$@)mkdir -p $(@D) && $(B)/ipsecbpf help --man-options > $@.commands && \
		$(B)/ipsecbpf help --man-drops > $@.drops && \
		$(B)/ipsecbpf help --man-checks > $@.checks && \
		$(B)/ipsecbpf help --man-metrics > $@.metrics && \
		sed -e '/^@COMMANDS@$$/{r $@.commands' -e 'd}' -e '/^@DROPS@$$/{r $@.drops' -e 'd}' \
			-e '/^@CHECKS@$$/{r $@.checks' -e 'd}' \
			-e '/^@METRICS@$$/{r $@.metrics' -e 'd}' $< > $@.tmp && mv $@.tmp $@ && \
		rm -f $@.commands $@.drops $@.checks $@.metrics

$(B)/man/ipsecbpf-policy.5: ctl/man/ipsecbpf-policy.5.in $(B)/ipsecbpf
	$(call say,MAN,$@)mkdir -p $(@D) && $(B)/ipsecbpf help --man-risks > $@.risks && \
		sed -e '/^@RISKS@$$/{r $@.risks' -e 'd}' $< > $@.tmp && mv $@.tmp $@ && rm -f $@.risks

$(B)/man/%.5: ctl/man/%.5
	$(call say,MAN,$@)mkdir -p $(@D) && cp $< $@

$(COMPLETION): $(B)/ipsecbpf
	$(call say,GEN,$@)mkdir -p $(@D) && $< help --bash-completion > $@.tmp && mv $@.tmp $@

.PHONY: install
install: all man $(COMPLETION)
	$(INSTALL) -d $(DESTDIR)$(SBINDIR) $(DESTDIR)$(MANDIR)/man8 $(DESTDIR)$(MANDIR)/man5 \
		$(DESTDIR)$(COMPLETIONDIR) $(DESTDIR)$(DATADIR)/schemas
	$(INSTALL) -d -m 700 $(DESTDIR)/etc/ipsecbpf
	$(INSTALL) -m 755 $(B)/ipsecbpf $(DESTDIR)$(SBINDIR)/
	$(INSTALL) -m 644 $(filter %.8,$(MAN)) $(DESTDIR)$(MANDIR)/man8/
	$(INSTALL) -m 644 $(filter %.5,$(MAN)) $(DESTDIR)$(MANDIR)/man5/
	$(INSTALL) -m 644 $(COMPLETION) $(DESTDIR)$(COMPLETIONDIR)/
	set -e; for f in schemas/*.schema.json; do \
		$(INSTALL) -m 644 $$f $(DESTDIR)$(DATADIR)/schemas/; done

.PHONY: uninstall
uninstall:
	rm -f $(DESTDIR)$(SBINDIR)/ipsecbpf $(DESTDIR)$(MANDIR)/man8/ipsecbpf.8 \
		$(DESTDIR)$(MANDIR)/man5/ipsecbpf-policy.5 $(DESTDIR)$(MANDIR)/man5/ipsecbpf-sa.5 \
		$(DESTDIR)$(COMPLETIONDIR)/ipsecbpf
	rm -rf $(DESTDIR)$(DATADIR)

# The command line without root and without an interface.
.PHONY: check-cli
check-cli: $(B)/ipsecbpf
	$(Q)IPSECBPF=$(abspath $<) $(PYTHON) -m pytest -q -p no:cacheprovider \
		selftests/unit/test_cli.py selftests/unit/test_import_app.py
