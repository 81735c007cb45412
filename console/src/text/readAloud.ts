// Texts to read aloud for a recording: the fable that phoneticians use, since it has most sounds of each language.
export const READ_ALOUD: Record<string, string> = {
  en: 'The North Wind and the Sun were disputing which was the stronger, when a traveller came along wrapped in a warm cloak. They agreed that the one who first succeeded in making the traveller take his cloak off should be considered stronger than the other. Then the North Wind blew as hard as he could, but the more he blew, the more closely did the traveller fold his cloak around him; and at last the North Wind gave up the attempt. Then the Sun shone out warmly, and immediately the traveller took off his cloak. And so the North Wind was obliged to confess that the Sun was the stronger of the two.',
  zh: '有一回，北风跟太阳在那儿争论谁的本事大。正说着呢，来了一个过路的人，身上穿了一件厚大衣。他们俩就商量好了，说谁能先叫这个过路的人脱下他的厚大衣，就算谁的本事大。北风就使劲儿刮起来，可是他越刮得厉害，那个过路的人把大衣裹得越紧。后来北风没法子了，只好算了。过了一会儿，太阳出来了，热热地一晒，那个过路的人马上就把那件厚大衣脱下来了。北风只好承认，他们俩当中还是太阳的本事大。',
  yue: '有一次，北風同太陽喺度拗緊邊個叻啲。佢哋啱啱睇到有個人行過，呢個人着住件大褸。佢哋就話嘞，邊個可以整到呢個人除咗件褸呢，就算邊個叻啲嘞。於是，北風就搏命咁吹。點知，佢越吹得犀利，嗰個人就越係揦實件褸。最後，北風冇晒符，唯有放棄。跟住，太陽出嚟晒咗一陣，嗰個人就即刻除咗件褸嘞。於是，北風唯有認輸啦。',
  ja: 'ある時、北風と太陽が力くらべをしました。旅人の外套を脱がせた方が勝ちということに決めて、まず北風から始めました。北風は、「よし、ひとめくりにしてやろう」と、激しく吹き立てました。すると旅人は、北風が吹けば吹くほど外套をしっかりと体にくっつけました。次に、太陽の番になりました。太陽は雲の間から優しい顔を出して、暖かな光を送りました。旅人はだんだんよい心持ちになり、しまいには外套を脱ぎました。そこで北風の負けになりました。',
  ko: '바람과 햇님이 서로 힘이 더 세다고 다투고 있을 때, 한 나그네가 따뜻한 외투를 입고 걸어왔습니다. 그들은 누구든지 나그네의 외투를 먼저 벗기는 이가 힘이 더 세다고 하기로 결정했습니다. 북풍은 힘껏 불었으나 불면 불수록 나그네는 외투를 단단히 여몄습니다. 그때에 햇님이 뜨거운 햇빛을 가만히 내려쬐니, 나그네는 외투를 얼른 벗었습니다. 이리하여 북풍은 햇님이 둘 중에 힘이 더 세다고 인정하지 않을 수 없었습니다.',
};
