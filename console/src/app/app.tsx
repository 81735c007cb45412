// The frame around every page: who is signed in, navigation, language and theme.
import type { ComponentChildren } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { api, call } from '../api/client';
import { Datasets } from '../pages/datasets/datasets';
import { Experiments } from '../pages/experiments/experiments';
import { NewVoice } from '../pages/newVoice/newVoice';
import { Service } from '../pages/service/service';
import { SignIn } from '../pages/signIn';
import { Speak } from '../pages/speak/speak';
import { Voices } from '../pages/voices/voices';
import { ErrorNote, Loading } from '../ui/feedback';
import { type TextKey, chooseLanguage, language, t } from './i18n';
import { useResource } from './resource';
import { linkTo, path } from './router';
import { apiKey, can, caller, type Scope, signOut } from './session';
import { type Theme, chooseTheme, theme } from './theme';

interface PageEntry {
  name: string;
  title: TextKey;
  scopes: Scope[];
  content: (rest: string[]) => ComponentChildren;
}

const PAGES: PageEntry[] = [
  { name: 'speak', title: 'page.speak', scopes: ['speak'], content: () => <Speak /> },
  { name: 'new-voice', title: 'page.newVoice', scopes: ['train', 'read'], content: ([task]) => <NewVoice task={task} /> },
  { name: 'voices', title: 'page.voices', scopes: ['read', 'speak', 'train'], content: (rest) => <Voices rest={rest} /> },
  { name: 'datasets', title: 'page.datasets', scopes: ['train', 'read'], content: (rest) => <Datasets rest={rest} /> },
  { name: 'experiments', title: 'page.experiments', scopes: ['train', 'read'], content: (rest) => <Experiments rest={rest} /> },
  { name: 'service', title: 'page.service', scopes: ['read'], content: ([tab]) => <Service tab={tab} /> },
];

export function App() {
  const session = useResource(async () => {
    caller.value = await call(api.GET('/api/v1/me'));
  }, [apiKey.value]);
  if (caller.value) return <Frame />;
  const { error } = session;
  return (
    <>
      <Header />
      <main class="container">
        {error && error.status !== 401 ? (
          <ErrorNote error={error} retry={session.reload} />
        ) : error ? (
          <SignIn error={apiKey.value ? error : undefined} />
        ) : (
          <Loading />
        )}
      </main>
    </>
  );
}

function Frame() {
  const allowed = PAGES.filter((page) => can(...page.scopes));
  const [name, ...rest] = path.value;
  const page = name === undefined ? allowed[0] : allowed.find((entry) => entry.name === name);
  const heading = useRef<HTMLElement>(null);
  const title = page ? t(page.title) : t('page.unknown');
  const navigation = useRef<HTMLElement>(null);
  useEffect(() => {
    document.title = `${title} · sovitsd`;
    const [box, link] = [navigation.current, navigation.current?.querySelector<HTMLElement>('[aria-current]')];
    // On a phone the pages do not fit side by side.
    if (box && link) box.scrollLeft = link.offsetLeft - box.offsetLeft - (box.clientWidth - link.offsetWidth) / 2;
  }, [title]);
  return (
    <>
      <Header>
        <a class="skip" href="#main" onClick={(event) => (event.preventDefault(), heading.current?.focus())}>
          {t('page.skip')}
        </a>
        <nav aria-label={t('page.navigation')} class="pages" ref={navigation}>
          {allowed.map((entry) => (
            <a key={entry.name} href={linkTo(entry.name)} aria-current={entry === page ? 'page' : undefined}>
              {t(entry.title)}
            </a>
          ))}
        </nav>
      </Header>
      <main id="main" class="container" ref={heading} tabIndex={-1}>
        <h1>{title}</h1>
        {page ? page.content(rest) : <p>{t('page.unknownHint')}</p>}
      </main>
    </>
  );
}

function Header({ children }: { children?: ComponentChildren }) {
  return (
    <header class="top">
      <strong class="brand">sovitsd</strong>
      {children}
      <div class="choices">
        <select
          aria-label={t('choice.language')}
          value={language.value}
          onChange={(event) => chooseLanguage(event.currentTarget.value === 'zh' ? 'zh' : 'en')}
        >
          <option value="en" lang="en">
            English
          </option>
          <option value="zh" lang="zh-CN">
            中文
          </option>
        </select>
        <select
          aria-label={t('choice.theme')}
          value={theme.value}
          onChange={(event) => chooseTheme(event.currentTarget.value as Theme)}
        >
          <option value="auto">{t('theme.auto')}</option>
          <option value="light">{t('theme.light')}</option>
          <option value="dark">{t('theme.dark')}</option>
        </select>
        {caller.value?.key_required && (
          <button type="button" class="outline small" onClick={() => signOut()}>
            {t('signIn.out')}
          </button>
        )}
      </div>
    </header>
  );
}
