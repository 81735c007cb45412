// New voice, Quick mode: a recording in, a voice out.
import { api, call, type Schemas } from '../../api/client';
import { formatTime, t, term } from '../../app/i18n';
import { linkTo } from '../../app/router';
import { can } from '../../app/session';
import { Name, ProgressBar, Status } from '../../ui/feedback';
import { Paged } from '../../ui/paged';
import { NewVoiceForm } from './form';
import { TaskPage } from './task';

/** Those of the eleven-step service are among them; they are experiments to this page. */
async function loadTasks(limit: number, offset: number) {
  const page = await call(api.GET('/api/v1/tasks', { params: { query: { limit, offset } } }));
  return { ...page, items: page.tasks };
}

export function NewVoice({ task }: { task: string | undefined }) {
  if (task) return <TaskPage key={task} id={task} />;
  return (
    <>
      {can('train') && <NewVoiceForm />}
      <section>
        <h2>{t('task.list')}</h2>
        <Paged<Schemas['TaskView']>
          label={t('task.list')}
          load={loadTasks}
          rowKey={(item) => item.id}
          empty={t('task.none')}
          columns={[
            { title: t('common.name'), cell: (item) => <a href={linkTo(item.id.startsWith('exp-') ? 'experiments' : 'new-voice', item.id)}><Name>{item.exp_name}</Name></a> },
            { title: t('common.status'), cell: (item) => <Status value={item.status} /> },
            {
              title: t('common.progress'),
              cell: (item) => <ProgressBar share={item.overall_progress} label={t('task.progressOf', { name: item.exp_name })} />,
            },
            { title: t('task.stage'), cell: (item) => (item.current_stage ? term('stage', item.current_stage) : '–') },
            { title: t('common.created'), cell: (item) => formatTime(item.created_at) },
          ]}
        />
      </section>
    </>
  );
}
