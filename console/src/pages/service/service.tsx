// Service: what runs, what waits, what failed, who may do what.
import { t } from '../../app/i18n';
import { linkTo } from '../../app/router';
import { can } from '../../app/session';
import { Tabs } from '../../ui/tabs';
import { Audit } from './audit';
import { DeadLetters } from './deadLetters';
import { Jobs } from './jobs';
import { Keys } from './keys';
import { Limits } from './limits';
import { Overview } from './overview';
import { Webhooks } from './webhooks';

export function Service({ tab }: { tab: string | undefined }) {
  const all = [
    { name: 'overview', title: t('service.overview'), content: () => <Overview />, shown: can('read') },
    { name: 'jobs', title: t('service.jobs'), content: () => <Jobs />, shown: true },
    { name: 'dead-letters', title: t('service.deadLetters'), content: () => <DeadLetters />, shown: true },
    { name: 'limits', title: t('service.limits'), content: () => <Limits />, shown: can('read') },
    { name: 'webhooks', title: t('service.webhooks'), content: () => <Webhooks />, shown: can('read', 'train') },
    { name: 'keys', title: t('service.keys'), content: () => <Keys />, shown: can('admin') },
    { name: 'audit', title: t('service.audit'), content: () => <Audit />, shown: can('admin') },
  ];
  const tabs = all.filter((entry) => entry.shown).map((entry) => ({ ...entry, href: linkTo('service', entry.name) }));
  return <Tabs tabs={tabs} current={tab} label={t('page.service')} />;
}
