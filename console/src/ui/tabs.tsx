// Parts of a page, each with an address of its own.
import type { ComponentChildren } from 'preact';

export interface Tab {
  name: string;
  title: string;
  href: string;
  content: () => ComponentChildren;
}

export function Tabs({ tabs, current, label }: { tabs: Tab[]; current: string | undefined; label: string }) {
  const shown = tabs.find((tab) => tab.name === current) ?? tabs[0];
  return (
    <>
      <nav class="tabs" aria-label={label}>
        {tabs.map((tab) => (
          <a key={tab.name} href={tab.href} aria-current={tab === shown ? 'page' : undefined}>
            {tab.title}
          </a>
        ))}
      </nav>
      {shown?.content()}
    </>
  );
}
